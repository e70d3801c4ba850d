"""The web page, as a Hugging Face Space starts it: ``python app.py``."""

from importlib.util import find_spec

if find_spec("spaces"):
    import spaces  # noqa: F401  (ZeroGPU must be imported before PyTorch)

from motion_offsets.demo.server import serve

if __name__ == "__main__":
    serve(mcp=find_spec("mcp") is not None)
