"""Starting the page."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence

from ..runtime.allocation import keep_freed_memory


def serve(host: str | None = None, port: int | None = None, mcp: bool = False, deblurrers: Sequence[str] = ()) -> None:
    """Serve the page until it is interrupted; without host and port, where Gradio's environment variables say.

    Args:
        deblurrers: what may make the sharp frames, the default first; without any, the bundled one.
    """
    keep_freed_memory()
    # Being told to end, as a container is, deletes the visitors' files as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        os.makedirs(parent, exist_ok=True)
    # A folder of this process alone, for uploads too: Gradio deletes them only when it is closed in its own way.
    with tempfile.TemporaryDirectory(prefix="motion-offsets-", dir=parent, ignore_cleanup_errors=True) as private:
        os.environ["GRADIO_TEMP_DIR"] = private
        # Not before: parts of Gradio take that folder's name when they are imported.
        from .application import create, launch_settings
        from .limits import Limits
        from .networks import use_deblurrers

        use_deblurrers(deblurrers)
        limits = Limits()
        page, service = create(limits)
        try:
            page.launch(server_name=host, server_port=port, share=False, quiet=False, **launch_settings(service, mcp))
        finally:
            page.close(verbose=False)
            service.close()
