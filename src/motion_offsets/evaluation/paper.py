"""Figures of the paper, beside which a report puts its own."""

from __future__ import annotations

GOPRO_TEST_PAIRS = 1111


# Table 2 of the paper, its synthetic set: reblur PSNR, reblur SSIM, motion MSE.
PAPER_TABLE_2 = (
    ("paper, zero-constraint", 37.62, 0.9763, None),
    ("paper, linear", 37.34, 0.9857, 7.42),
    ("paper, bidirectional-linear", 38.64, 0.9872, 7.16),
    ("paper, quadratic", 38.90, 0.9882, 3.27),
)


QUOTED_TABLE_2 = (
    ("quoted by the paper, Sun et al.", 29.34, 0.9001, 50.12),
    ("quoted by the paper, Gong et al.", 37.61, 0.9818, 10.05),
)


# Tables 2 and 3, GoPro: reblur PSNR and SSIM.
PAPER_GOPRO_REBLUR = (
    ("paper, zero-constraint", 35.82, 0.9800),
    ("paper, linear", 33.45, 0.9669),
    ("paper, bidirectional-linear", 33.79, 0.9687),
    ("paper, quadratic", 34.68, 0.9740),
    ("paper, quadratic, N = 5", 34.09, 0.9668),
    ("paper, quadratic, N = 9", 34.52, 0.9727),
    ("paper, quadratic without SSIM loss", 34.16, 0.97),
    ("paper, quadratic without total variation loss", 33.96, 0.9672),
    ("paper, quadratic without regularisation loss", 34.56, 0.9727),
)


QUOTED_GOPRO_REBLUR = (
    ("quoted by the paper, Sun et al.", 29.68, 0.9282),
    ("quoted by the paper, Gong et al.", 30.61, 0.9363),
)


# Tables 5 and 6, GoPro: deblur PSNR and SSIM.
PAPER_GOPRO_DEBLUR = (
    ("paper, MA-DMPHN zero-constraint", 30.79, 0.9459),
    ("paper, MA-DMPHN linear", 30.82, 0.9462),
    ("paper, MA-DMPHN bidirectional-linear", 31.04, 0.9483),
    ("paper, MA-DMPHN quadratic", 31.05, 0.9485),
)


QUOTED_GOPRO_DEBLUR = (
    ("quoted by the paper, Gong et al.", 26.89, 0.8639),
    ("quoted by the paper, Nah et al.", 29.08, 0.9135),
    ("quoted by the paper, Tao et al.", 30.26, 0.9342),
    ("quoted by the paper, Kupyn et al.", 29.55, 0.9340),
    ("quoted by the paper, Gao et al.", 30.92, 0.9421),
    ("quoted by the paper, DMPHN", 30.21, 0.9345),
    ("quoted by the paper, stack(4)-DMPHN", 31.20, 0.9453),
)


# Table 2 and section 6.5: seconds of the motion estimation and of the whole extraction.
PAPER_RUNTIMES = (("paper, each trajectory", 0.011, 0.22),)


QUOTED_RUNTIMES = (
    ("quoted by the paper, Sun et al.", 45.2, None),
    ("quoted by the paper, Gong et al.", 8.4, None),
    ("quoted by the paper, Jin et al.", None, 1.1),
    ("quoted by the paper, Purohit et al.", None, 0.39),
)


# Table 5: MB of the deblurrers.
PAPER_SIZES = (("paper, MA-DMPHN quadratic", 26.3),)


QUOTED_SIZES = (
    ("quoted by the paper, Gong et al.", 54.1),
    ("quoted by the paper, Nah et al.", 303.6),
    ("quoted by the paper, Tao et al.", 33.6),
    ("quoted by the paper, Kupyn et al.", 35.4),
    ("quoted by the paper, Gao et al.", 46.5),
    ("quoted by the paper, DMPHN", 21.7),
    ("quoted by the paper, stack(4)-DMPHN", 86.8),
)
