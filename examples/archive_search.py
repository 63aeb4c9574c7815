# %% [markdown]
# # Search an archive by words and by picture
#
# The model is the student of `demo.ipynb` (run that first); any export or public teacher does: `mmkd.load("biomedclip")`.
# The archive is the demo's folder of 2,400 pictures and is kept in LanceDB, without a server.

# %%
import mmkd

model = mmkd.load("runs/demo/export")
pictures = "runs/demo/world/retrieval/pairs.csv"
model.index(pictures, "runs/archive")

# %% [markdown]
# By words. The score is the cosine; `where` is a condition in SQL on what the table says of each picture.

# %%
model.search("runs/archive", "calcification on ultrasound", k=5)

# %%
model.search("runs/archive", "calcification", k=3, where="modality = 'ct'")

# %% [markdown]
# By picture. The first hit is the picture itself; `exclude_patient` leaves out all pictures of a patient.

# %%
first = model.search("runs/archive", image="runs/demo/world/retrieval/images/00000.png", k=3)
first

# %%
patient = first["patient"][0]
model.search(
    "runs/archive", image="runs/demo/world/retrieval/images/00000.png", k=3, exclude_patient=patient
)

# %% [markdown]
# The same search by brute force agrees: below a million pictures the archive is searched exactly.

# %%
import csv
from pathlib import Path

rows = list(csv.DictReader(open(pictures)))
vectors = model.embed_images([Path(pictures).parent / row["image"] for row in rows])
cosines = vectors @ model.embed_texts("calcification on ultrasound")[0]
[(rows[place]["id"], round(float(cosines[place]), 4)) for place in (-cosines).argsort()[:5]]
