"""Run by the Python that has OpenCV, as QuPath reads ONNX: answers for RGB pictures (N, H, W, 3) of an .npy file."""

import sys

import cv2
import numpy as np

probe, pictures, out = sys.argv[1:]
net = cv2.dnn.readNetFromONNX(probe)
answers = []
for picture in np.load(pictures):
    net.setInput(cv2.dnn.blobFromImage(picture))
    answers.append(net.forward()[0])
np.save(out, np.stack(answers))
