"""Progress bars."""

from flambeau.trainer.callbacks.progress.progress_bar import ProgressBar
from flambeau.trainer.callbacks.progress.rich_progress import RichProgressBar
from flambeau.trainer.callbacks.progress.tqdm_progress import TQDMProgressBar

__all__ = ["ProgressBar", "RichProgressBar", "TQDMProgressBar"]
