"""A second engine, slow and plain, with which the engine must agree on every time stamp.

It steps through the operators of every pass on the two clocks, keeps everything in plain lists that it sorts and
scans for every question, and has its own loop over time. Of the package it uses the costs of operators
(`CostModel.launches` and the constants), the policies, the predictors and the class `Request`; no timeline, queue or
instance. `power` has the speed of a rested GPU.

At any one time arrivals come first, then what the device does, then decisions.
"""
