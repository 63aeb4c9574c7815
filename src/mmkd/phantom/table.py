"""The modalities of the embedded world: what they are called, what can be found in them, and how each finding is drawn.

A new modality or finding is one entry here. The first name is the canonical one: it names classes and folders.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mmkd.phantom import colour, layers, radiology
from mmkd.phantom.primitives import Array, Canvas


@dataclass(frozen=True)
class Finding:
    """What an image shows, in several wordings, and the function that draws it."""

    names: tuple[str, ...]
    draw: Callable[[Canvas], Array]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class Modality:
    """How an image was taken, in several wordings, and its findings."""

    id: str
    names: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        return self.names[0]


X_RAY = Modality(
    "x-ray",
    ("chest x-ray", "chest radiograph", "frontal radiograph", "plain film of the chest"),
    (
        Finding(
            ("clear lungs", "no acute cardiopulmonary finding", "normal lungs and heart", "no lung opacity"),
            radiology.clear_lungs,
        ),
        Finding(
            ("left lung opacity", "left-sided consolidation", "infiltrate in the left lung", "pneumonia on the left"),
            radiology.left_lung_opacity,
        ),
        Finding(
            (
                "right pleural effusion",
                "fluid at the right lung base",
                "effusion on the right",
                "right-sided pleural fluid",
            ),
            radiology.right_pleural_effusion,
        ),
        Finding(
            ("enlarged heart", "cardiomegaly", "increased cardiac silhouette", "dilated heart shadow"),
            radiology.enlarged_heart,
        ),
    ),
)

FUNDUS = Modality(
    "fundus",
    ("fundus photograph", "retinal photograph", "colour fundus image", "photograph of the ocular fundus"),
    (
        Finding(
            ("healthy retina", "no retinopathy", "normal fundus", "unremarkable retina"),
            colour.healthy_retina,
        ),
        Finding(
            ("retinal haemorrhages", "blot haemorrhages", "bleeding in the retina", "dark retinal bleeds"),
            colour.retinal_haemorrhages,
        ),
        Finding(
            ("hard exudates", "yellow lipid deposits", "bright retinal exudates", "exudation at the macula"),
            colour.hard_exudates,
        ),
        Finding(
            ("glaucomatous cup", "enlarged optic cup", "glaucoma suspect", "increased cup to disc ratio"),
            colour.glaucomatous_cup,
        ),
    ),
)

HISTOPATHOLOGY = Modality(
    "histopathology",
    ("histopathology slide", "H&E section", "microscopy of stained tissue", "histology image"),
    (
        Finding(
            ("normal stroma", "benign fibrous tissue", "unremarkable connective tissue", "sparse fibroblasts"),
            layers.normal_stroma,
        ),
        Finding(
            ("lymphocytic infiltrate", "dense lymphocytes", "many small round cells", "chronic inflammation"),
            layers.lymphocytic_infiltrate,
        ),
        Finding(
            ("pleomorphic tumour cells", "large atypical nuclei", "high grade tumour", "undifferentiated carcinoma"),
            layers.pleomorphic_tumour,
        ),
        Finding(
            (
                "gland formation",
                "glandular structures",
                "well differentiated adenocarcinoma",
                "round glands with lumen",
            ),
            layers.gland_formation,
        ),
    ),
)

ENDOSCOPY = Modality(
    "endoscopy",
    ("endoscopy frame", "colonoscopy image", "endoscopic view", "view through the colonoscope"),
    (
        Finding(
            ("normal mucosa", "healthy bowel wall", "unremarkable colon", "no mucosal lesion"),
            colour.normal_mucosa,
        ),
        Finding(
            ("polyp", "polypoid lesion", "sessile adenoma", "protruding growth"),
            colour.polyp,
        ),
        Finding(
            ("ulcer", "ulcerated mucosa", "fibrin covered defect", "mucosal erosion"),
            colour.ulcer,
        ),
        Finding(
            ("active bleeding", "fresh blood", "haemorrhage into the lumen", "blood on the mucosa"),
            colour.active_bleeding,
        ),
    ),
)

CT = Modality(
    "ct",
    ("head CT", "computed tomography of the head", "cranial CT scan", "CT slice of the brain"),
    (
        Finding(
            ("normal brain", "no intracranial abnormality", "unremarkable brain", "no acute stroke or bleed"),
            radiology.normal_brain,
        ),
        Finding(
            ("intracranial haemorrhage", "hyperdense bleed", "acute haematoma", "blood in the brain"),
            radiology.intracranial_haemorrhage,
        ),
        Finding(
            ("ischaemic stroke", "hypodense infarct", "territorial infarction", "acute ischaemia"),
            radiology.ischaemic_stroke,
        ),
        Finding(
            ("dilated ventricles", "hydrocephalus", "ventricular enlargement", "enlarged fluid spaces"),
            radiology.dilated_ventricles,
        ),
    ),
)

MRI = Modality(
    "mri",
    ("brain MRI", "magnetic resonance image of the brain", "FLAIR sequence", "cranial MR scan"),
    (
        Finding(
            ("unremarkable MRI", "no signal abnormality", "normal brain parenchyma", "no lesion"),
            radiology.unremarkable_mri,
        ),
        Finding(
            ("ring enhancing tumour", "glioblastoma", "mass with bright rim", "necrotic brain tumour"),
            radiology.enhancing_tumour,
        ),
        Finding(
            ("white matter lesions", "demyelinating plaques", "multiple bright foci", "multiple sclerosis"),
            radiology.white_matter_lesions,
        ),
        Finding(
            ("cerebral atrophy", "brain volume loss", "widened sulci", "shrunken cortex"),
            radiology.cerebral_atrophy,
        ),
    ),
)

ULTRASOUND = Modality(
    "ultrasound",
    ("abdominal ultrasound", "sonogram", "ultrasonography", "B-mode scan"),
    (
        Finding(
            ("homogeneous liver", "normal echotexture", "unremarkable parenchyma", "no focal lesion"),
            radiology.homogeneous_liver,
        ),
        Finding(
            ("simple cyst", "anechoic lesion", "fluid filled cavity", "cystic structure"),
            radiology.simple_cyst,
        ),
        Finding(
            ("solid mass", "hyperechoic lesion", "echogenic tumour", "bright solid nodule"),
            radiology.solid_mass,
        ),
        Finding(
            ("shadowing stone", "gallstone", "calculus with acoustic shadow", "calcification"),
            radiology.shadowing_stone,
        ),
    ),
)

DERMATOLOGY = Modality(
    "dermatology",
    ("dermatology photograph", "skin image", "dermoscopy", "clinical photograph of the skin"),
    (
        Finding(
            ("benign naevus", "regular mole", "melanocytic naevus", "harmless brown spot"),
            colour.benign_naevus,
        ),
        Finding(
            ("melanoma", "irregular pigmented lesion", "malignant mole", "asymmetric dark tumour"),
            colour.melanoma,
        ),
        Finding(
            ("psoriatic plaque", "psoriasis", "red scaly patch", "scaling erythematous lesion"),
            colour.psoriatic_plaque,
        ),
        Finding(
            ("basal cell carcinoma", "pearly nodule", "rolled border with central crust", "basalioma"),
            colour.basal_cell_carcinoma,
        ),
    ),
)

OCT = Modality(
    "oct",
    ("OCT scan", "optical coherence tomography", "retinal B-scan", "macular OCT"),
    (
        Finding(
            ("normal retinal layers", "regular foveal contour", "no macular pathology", "intact layers"),
            layers.normal_layers,
        ),
        Finding(
            ("macular oedema", "intraretinal fluid", "cystoid spaces", "swollen macula with cysts"),
            layers.macular_oedema,
        ),
        Finding(
            ("drusen", "deposits under the pigment epithelium", "dry macular degeneration", "bumpy deep layer"),
            layers.drusen,
        ),
        Finding(
            ("macular hole", "full thickness defect", "gap in the fovea", "missing inner layers"),
            layers.macular_hole,
        ),
    ),
)

MODALITIES: dict[str, Modality] = {
    modality.id: modality
    for modality in (X_RAY, FUNDUS, HISTOPATHOLOGY, ENDOSCOPY, CT, MRI, ULTRASOUND, DERMATOLOGY, OCT)
}


def modality_named(name: str) -> Modality:
    """The modality of that id; ValueError with the known ids otherwise."""
    if name not in MODALITIES:
        raise ValueError(f"the embedded world has no modality '{name}'; it has {', '.join(MODALITIES)}")
    return MODALITIES[name]
