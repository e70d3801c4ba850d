"""The web page: upload a blurred photo, watch what happened while the shutter was open. Needs the ``demo`` extra.

``text.py`` holds the words, ``page.py`` the layout, ``service.py`` what happens on a click or a call, ``networks.py``
the models, ``answers.py`` what they found, ``rendering.py`` pictures and files made of it, ``server.py`` the start.
"""
