"""The server that `bench/serve.py` compares with: FastAPI and open_clip, as one writes it in an afternoon.

    python bench/serve_naive.py FOLDER PORT

One model, one picture a request, the texts through the text tower each time; nothing of mmkd.
"""

import io
import sys

import open_clip
import torch
import uvicorn
from fastapi import FastAPI, Form, UploadFile
from PIL import Image


def make_app(folder: str) -> FastAPI:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    app = FastAPI()

    def image_vector(data: bytes) -> torch.Tensor:
        image = preprocess(Image.open(io.BytesIO(data)).convert("RGB")).unsqueeze(0)
        vector: torch.Tensor = model.encode_image(image, normalize=True)
        return vector

    def embed(image: UploadFile) -> dict[str, list[float]]:
        with torch.inference_mode():
            return {"embedding": image_vector(image.file.read())[0].tolist()}

    def classify(image: UploadFile, classes: str = Form()) -> dict[str, float]:
        names = classes.split(",")
        with torch.inference_mode():
            vector = image_vector(image.file.read())
            text = model.encode_text(tokenizer(names), normalize=True)
            shares = (model.logit_scale.exp() * vector @ text.T).softmax(dim=-1)[0]
        return dict(zip(names, shares.tolist(), strict=True))

    app.post("/v1/embeddings")(embed)
    app.post("/classify")(classify)
    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
