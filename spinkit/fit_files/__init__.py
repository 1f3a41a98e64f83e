"""Files of fits as others keep them: SPIN's static, released and multi-view fits, and EFT's JSON, in and out.

stored = fit_files.read_fits("static_fits/coco_fits.npy", count=len(samples))
dictionary = FitDictionary(stored.rotvec, stored.betas, stored.judged(error))
"""

from spinkit.fit_files.eft import EftFits, read_eft, save_eft
from spinkit.fit_files.spin import LAYOUTS, StoredFits, read_fits, save_fits

__all__ = ["LAYOUTS", "EftFits", "StoredFits", "read_eft", "read_fits", "save_eft", "save_fits"]
