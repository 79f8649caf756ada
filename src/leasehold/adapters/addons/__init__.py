"""How add-ons are asked, and their folders measured."""
