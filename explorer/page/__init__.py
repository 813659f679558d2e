"""The explorer as a web page: Gradio for the controls, own HTML and SVG for results, curves, map and player."""
