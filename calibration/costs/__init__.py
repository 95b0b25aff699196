"""What the engine needs of a calibration: operator tables and the cost model fitted to them."""
