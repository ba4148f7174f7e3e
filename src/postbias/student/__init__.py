"""Everything that needs torch or transformers: encoders, data sets, training and ONNX export.

One student of one modality goes from `training_setup` (which posts and encoders) through `training`
and `trainer` to `export`; `distillation` runs these steps and writes the artifact that
`postbias.scoring` runs without torch.
"""
