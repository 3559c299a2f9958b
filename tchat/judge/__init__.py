"""Classifiers of replies: human-written or not, preferred or not; steering towards them."""
