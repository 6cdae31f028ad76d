"""From pictures to training material: flow, masks, HDRI views, alignment."""
