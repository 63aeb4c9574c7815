"""Zero-shot labels of pictures: classes and prompts, calibrated probabilities, abstention, conformal sets."""
