"""Statistics of HAM10000's public table, which the phantoms' table is drawn from.

Counts, ages, sites and kinds of diagnosis: Tschandl et al. 2018, doi:10.7910/DVN/DBW86T.
"""

IMAGES = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
LESIONS = {"nv": 5403, "mel": 614, "bkl": 727, "bcc": 327, "akiec": 228, "vasc": 98, "df": 73}

AGES = {  # mean and standard deviation, years
    "akiec": (67, 11), "bcc": (67, 14), "bkl": (64, 14), "df": (53, 14), "mel": (61, 15), "nv": (46, 15),
    "vasc": (51, 22),
}  # fmt: skip
NO_AGE = 0.006
FEMALE = {"akiec": 0.32, "bcc": 0.38, "bkl": 0.42, "df": 0.45, "mel": 0.38, "nv": 0.48, "vasc": 0.51}
DX_TYPES = {
    "akiec": {"histo": 1.0},
    "bcc": {"histo": 1.0},
    "bkl": {"histo": 0.70, "consensus": 0.24, "confocal": 0.06},
    "df": {"histo": 0.48, "consensus": 0.52},
    "mel": {"histo": 1.0},
    "nv": {"histo": 0.37, "follow_up": 0.55, "consensus": 0.08},
    "vasc": {"histo": 0.47, "consensus": 0.53},
}
SITES = (
    "back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "foot", "neck", "scalp", "hand",
    "ear", "genital", "acral", "unknown",
)  # fmt: skip
SITE_WEIGHTS = {  # percent, in the order of SITES
    "akiec": (9, 20, 0, 19, 2, 35, 4, 0, 3, 4, 4, 1, 0, 0, 0),
    "bcc": (36, 11, 2, 10, 4, 20, 9, 1, 3, 4, 0, 0, 0, 0, 1),
    "bkl": (18, 16, 7, 9, 4, 29, 7, 0, 3, 3, 1, 1, 0, 0, 2),
    "df": (2, 71, 0, 21, 3, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0),
    "mel": (29, 17, 4, 19, 6, 9, 6, 3, 3, 1, 0, 2, 0, 0, 1),
    "nv": (21, 22, 19, 10, 13, 1, 3, 4, 1, 1, 1, 0, 1, 0.1, 3),
    "vasc": (15, 19, 22, 8, 19, 6, 4, 0, 2, 1, 4, 0, 0, 0, 0),
}
