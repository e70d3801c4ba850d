"""The web page, as a Hugging Face Space starts it: ``python app.py``."""

from motion_offsets.demo.server import serve

if __name__ == "__main__":
    serve()
