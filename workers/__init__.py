"""Everything one trial does: data, teacher, students, training, compression, export, measuring."""
