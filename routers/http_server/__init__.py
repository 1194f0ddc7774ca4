"""uvicorn's HTTP/1.1 protocol with limits on heads, connections and pipelining, as `python app.py` serves with it."""
