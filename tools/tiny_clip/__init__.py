"""How the embedded model of the demo was made: prompts, tokenizer and training. Not used at run time."""
