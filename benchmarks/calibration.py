"""How long calibration takes, and how true it is: exact boards carried through a made-up stage, noise added.

python benchmarks/calibration.py                        # 4 cameras x 21 boards and 12 x 60
python benchmarks/calibration.py --cameras 40 --boards 200
python benchmarks/calibration.py --solvers              # ours beside scipy's least_squares
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix

from litdome.calib.boards import BoardSpec, BoardView, detect_take
from litdome.calib.boards.footage import read_footage
from litdome.calib.exchange import read_calibration
from litdome.calib.solve.bundle import SOFT_PX, Estimate, Problem, jacobians, moved, residuals, solve
from litdome.calib.solve.pose_graph import gather_corners, start_estimate
from litdome.calib.solve.poses import RigSolution, solve_rig
from litdome.geometry import Camera, Rig, invert_rigid, look_at

SPEC = BoardSpec("charuco", 12, 9, 0.06, 0.045, "DICT_4X4_100")
SIZE = (2160, 3840)
NOISE_PX = 0.3


def stage(cameras: int, rng: np.random.Generator) -> Rig:
    """Cameras on a sphere of 2.8 m around the middle, all round, looking in."""
    found = []
    for n in range(cameras):
        turn, rise = n * np.pi * (3 - np.sqrt(5)), np.radians(-10 + 55 * (n % 5) / 4)
        centre = 2.8 * np.array([np.cos(rise) * np.sin(turn), np.sin(rise), np.cos(rise) * np.cos(turn)])
        focal = rng.uniform(4200, 4800)
        middle = (np.array(SIZE) - 1) / 2 + rng.normal(0, 15, 2)
        k = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
        d = np.array([rng.uniform(-0.1, -0.05), 0.03, 3e-4, -2e-4, 0, 0, 0, 0])
        found.append(Camera(f"c{n:02d}", *SIZE, k, d, look_at(centre, rng.normal(0, 0.05, 3))))
    return Rig(tuple(found))


def film(rig: Rig, boards: int, rng: np.random.Generator) -> dict[str, dict[int, BoardView]]:
    """Views of a board carried about the middle; a camera sees its front up to 60 degrees off."""
    views: dict[str, dict[int, BoardView]] = {camera.id: {} for camera in rig.cameras}
    middle = SPEC.points.mean(axis=0)
    for n in range(boards):
        turn = cv2.Rodrigues(np.array([0, 2 * np.pi * n * 0.618, 0]))[0] @ cv2.Rodrigues(rng.normal(0, 0.35, 3))[0]
        place = rng.uniform(-0.4, 0.4, 3)
        world = (SPEC.points - middle) @ (turn @ np.diag([1.0, -1.0, -1.0])).T + place
        for camera in rig.cameras:
            towards = camera.centre - place
            if turn[:, 2] @ towards < 0.5 * np.linalg.norm(towards):
                continue
            pixels = camera.project(world) + rng.normal(0, NOISE_PX, (len(world), 2))
            ids = np.flatnonzero(((pixels >= 0) & (pixels <= np.array(SIZE) - 1)).all(axis=1))
            if len(ids) >= 12:
                views[camera.id][n] = BoardView(ids.astype(np.int32), pixels[ids])
    return views


def incoming(rig: Rig, focal: float, rng: np.random.Generator) -> list[Camera]:
    """Cameras as other programs might give them: focal length off by so much, centre by as much, no pose."""
    found = []
    for camera in rig.cameras:
        k = camera.intrinsics.copy()
        k[[0, 1], [0, 1]] *= 1 + focal * rng.normal()
        k[:2, 2] += 0.2 * focal * max(SIZE) * rng.normal(0, 1, 2)
        found.append(replace(camera, intrinsics=k, world_from_camera=np.eye(4)))
    return found


def tell(solution: RigSolution, truth: Rig) -> str:
    """How far off the solution is, in millimetres, percent and its own standard deviations."""
    first = invert_rigid(truth.cameras[0].world_from_camera)
    off, focal, said = [], [], []
    for n, (ours, true) in enumerate(zip(solution.rig.cameras, truth.cameras, strict=True)):
        pose = first @ true.world_from_camera
        off.append(np.linalg.norm(ours.centre - pose[:3, 3]))
        focal.append(ours.intrinsics[0, 0] / true.intrinsics[0, 0] - 1)
        if n:
            own = ours.world_from_camera[:3, :3].T @ (ours.centre - pose[:3, 3])
            said.extend(own / solution.pose_std[n, 3:])
    centres_mm, percent, stds = (np.sqrt(np.mean(np.square(values))) for values in (off, focal, said))
    return (
        f"centres {1000 * centres_mm:.2f} mm off, which is {stds:.2f} standard deviations, "
        f"focal lengths {100 * percent:.3f} %"
    )


def run(cameras: int, boards: int, refine: str, seed: int) -> None:
    """Solve one stage and print what came out."""
    rng = np.random.default_rng(seed)
    truth = stage(cameras, rng)
    views = film(truth, boards, rng)
    start = incoming(truth, 0.005, rng)
    seen = sum(len(of) for of in views.values())
    began = time.perf_counter()
    solution = solve_rig(start, views, SPEC, refine=refine)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    freed = sum(len(names) for names in solution.freed.values())
    print(
        f"{cameras} cameras x {boards} boards, {seen} views, {len(solution.corners.id)} corners, {refine}: "
        f"{took:.1f} s, {peak:.2f} GB; rms {solution.all_rms_px:.3f} px, held out {solution.held_out_rms_px:.3f} px, "
        f"pair distance {solution.pair_distance_mm:.3f} mm; {freed} lens terms freed; {tell(solution, truth)}"
    )


def solve_footage(folder: Path) -> None:
    """Solve real footage with the lenses that came with it, and print the error of every corner of every shared view,
    those that were left out of the fit included."""
    footage = read_footage(folder)
    views, began = {}, time.perf_counter()
    for id, camera in footage.cameras.items():
        assert camera.extrinsic is not None and footage.board is not None
        take = detect_take(camera.extrinsic, footage.board, max_pictures=10_000, variant=footage.variant)
        number = (lambda n: n) if camera.view_of is None else camera.view_of.__getitem__
        views[id] = {int(number(n)): view for n, view in take.views.items()}
    shipped = read_calibration(folder / "camera_array.toml")
    print(f"{folder.name}: boards found in {time.perf_counter() - began:.1f} s")
    for refine in ("none", "f,k1,k2", "auto"):
        began = time.perf_counter()
        found = solve_rig([shipped[id] for id in footage.cameras], views, footage.board, refine=refine)
        took = time.perf_counter() - began
        table = found.corners
        squares = (table.residual_px**2).sum(axis=1)
        used = table.state == 0
        best = np.sort(squares)[: int(np.ceil(0.975 * len(squares)))]
        every, trimmed, counted = (np.sqrt(values.mean()) for values in (squares, best, squares[used]))
        print(
            f"  {refine}: {took:.1f} s, {len(squares)} corners of {len(set(table.view.tolist()))} views; every corner "
            f"{every:.3f} px, without the worst 2.5 % {trimmed:.3f} px; used {np.mean(used):.1%}: {counted:.3f} px; "
            f"held out {found.held_out_rms_px:.3f} px, pair distance {found.pair_distance_mm:.2f} mm; "
            f"{len(found.dropped)} views left out; freed {dict(found.freed)}"
        )


def compare_solvers(cameras: int, boards: int) -> None:
    """Time from the same start to the same minimum: our Schur solver, and scipy's with the same Jacobian, sparse."""
    rng = np.random.default_rng(0)
    truth = stage(cameras, rng)
    start_cameras = incoming(truth, 0.005, rng)
    corners, _ = gather_corners(start_cameras, film(truth, boards, rng), SPEC, at_least=2)
    start = start_estimate(start_cameras, corners)
    free = np.zeros((cameras, 18), bool)
    free[1:, :6] = True
    free[:, [6, 10, 11]] = True
    problem = Problem([camera.model for camera in start_cameras], corners, free)
    began = time.perf_counter()
    ours = solve(problem, start)
    took = time.perf_counter() - began
    print(f"{cameras} x {boards}, ours: {took:.2f} s, cost {soft_cost(problem, ours):.3f}")
    began = time.perf_counter()
    theirs = scipy_solve(problem, start)
    took = time.perf_counter() - began
    print(f"{cameras} x {boards}, scipy trf + lsmr, same Jacobian: {took:.2f} s, cost {soft_cost(problem, theirs):.3f}")


def soft_cost(problem: Problem, estimate: Estimate) -> float:
    """Soft L1 over corners."""
    squares = (residuals(problem, estimate)[problem.corners.used] ** 2).sum(axis=-1)
    return float((2 * SOFT_PX**2 * (np.sqrt(1 + squares / SOFT_PX**2) - 1)).sum())


def scipy_solve(problem: Problem, start: Estimate) -> Estimate:
    """The same minimum by scipy.optimize.least_squares; residuals are scaled to make its squares our soft L1."""
    corners = problem.corners
    cameras, views = len(problem.free), len(start.world_from_board)
    columns = np.flatnonzero(np.concatenate([problem.free.ravel(), np.ones(6 * views, bool)]))
    rows = np.flatnonzero(np.repeat(corners.used.ravel(), 2))

    def at(x: np.ndarray) -> Estimate:
        full = np.zeros(18 * cameras + 6 * views)
        full[columns] = x
        return moved(start, full[: 18 * cameras].reshape(-1, 18), full[18 * cameras :].reshape(-1, 6))

    def soft(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r = residuals(problem, at(x))
        s = (r**2).sum(axis=-1) / SOFT_PX**2
        return r, np.sqrt(2 * (np.sqrt(1 + s) - 1) / np.maximum(s, 1e-12))[..., None]

    def value(x: np.ndarray) -> np.ndarray:
        r, scale = soft(x)
        return (r * scale).ravel()[rows]

    def slope(x: np.ndarray) -> csr_matrix:
        _, scale = soft(x)
        camera, board = (np.asarray(j) * scale[..., None] for j in jacobians(problem, at(x)))
        count, m = corners.used.shape
        at_camera = corners.camera[:, None] * 18 + np.arange(18)
        at_board = 18 * cameras + corners.view[:, None] * 6 + np.arange(6)
        where = np.broadcast_to(np.hstack([at_camera, at_board])[:, None, None], (count, m, 2, 24))
        values = np.concatenate([camera, board], axis=-1)
        line = np.broadcast_to(np.arange(count * m * 2).reshape(count, m, 2, 1), values.shape)
        shape = (count * m * 2, 18 * cameras + 6 * views)
        return csr_matrix((values.ravel(), (line.ravel(), where.ravel())), shape=shape)[rows][:, columns]

    found = least_squares(
        value, np.zeros(len(columns)), slope, x_scale="jac", tr_solver="lsmr", ftol=1e-9, max_nfev=100
    )
    return at(found.x)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cameras", type=int)
    parser.add_argument("--boards", type=int, default=60)
    parser.add_argument("--refine", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--solvers", action="store_true")
    parser.add_argument("--footage", type=Path)
    options = parser.parse_args()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}, numpy {np.__version__}, OpenCV {cv2.__version__}")
    if options.footage:
        solve_footage(options.footage)
        return
    sizes = [(options.cameras, options.boards)] if options.cameras else [(4, 21), (12, 60)]
    for cameras, boards in sizes:
        if options.solvers:
            compare_solvers(cameras, boards)
        else:
            run(cameras, boards, options.refine, options.seed)


if __name__ == "__main__":
    main()
