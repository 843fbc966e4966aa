"""Design-space exploration: which accelerator for a model and a chip, and how sure that is.

A `space` of configs and a `workload` make a `sweep`, whose candidates a `search` asks for and workers of a `pool`
`evaluate`; results go to a `store`. What it found is an `outcome`: `plot`, `page`, `tables` and `summary` tell it.
`celosia sweep` puts them together.
"""
