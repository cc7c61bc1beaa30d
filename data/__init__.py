"""The ground floor: images, tables, splits; imports nothing of ours from above."""
