"""The stages of a trial, one file each, in the order of the flow:

prepare → teacher_targets → supernet → screen → train → compress → export → extra → convert →
score → measure

Beside the flow, for `search validate`: check_teacher, rehearse.
"""
