# %% [markdown]
# # Search an archive by words and by picture
#
# The model is the student of `demo.ipynb` (run that first). Any export or public teacher does, as in
# `mmkd.load("biomedclip")`. The archive holds the demo's held-out pictures, in LanceDB, without a server.

# %%
import mmkd

model = mmkd.load("runs/demo/export")
pictures = "runs/demo/world/retrieval/pairs.csv"
shown = ["rank", "score", "id", "caption", "modality", "patient"]
model.index(pictures, "runs/archive")

# %% [markdown]
# By words. The score is the cosine; `where` is a condition in SQL on what the table says of each picture.

# %%
model.search("runs/archive", "cranial CT with haemorrhage", k=5)[shown]

# %%
model.search("runs/archive", "enlarged heart", k=3, where="modality = 'x-ray'")[shown]

# %% [markdown]
# By picture. The first hit is the picture itself; `exclude_patient` leaves out all pictures of a patient.

# %%
picture = model.search("runs/archive", "enlarged heart", k=1)["file"][0]
first = model.search("runs/archive", image=picture, k=3)
first[shown]

# %%
found = model.search("runs/archive", image=picture, k=3, exclude_patient=first["patient"][0])
found[shown]

# %% [markdown]
# The same search by brute force agrees: below a million pictures the archive is searched exactly.

# %%
import csv
from pathlib import Path

rows = list(csv.DictReader(open(pictures)))
vectors = model.embed_images([Path(pictures).parent / row["image"] for row in rows])
cosines = vectors @ model.embed_texts("cranial CT with haemorrhage")[0]
[(rows[place]["id"], round(float(cosines[place]), 4)) for place in (-cosines).argsort()[:5]]
