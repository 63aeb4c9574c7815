"""The words for DICOM's codes, against the tables of the standard that pydicom holds."""

import re
import tomllib
from importlib.resources import files

import pytest
from pydicom.sr.codedict import codes

from mmkd.modalities.taxonomy import fine_modality

TERMS = tomllib.loads(files("mmkd.curation.sources").joinpath("dicom_terms.toml").read_text())

# PS3.16 annex L: defined term of Body Part Examined, and the SNOMED CT concept that it stands for
ANNEX_L = dict(
    re.findall(
        r"([A-Z]+) (\d+)",
        """
    ABDOMEN 818981001, ABDOMENPELVIS 818982008, ABDOMINALAORTA 7832008, ACJOINT 85856004, ADRENAL 23451007,
    ANKLE 70258002, AORTA 15825003, AORTICARCH 57034009, APPENDIX 66754008, ARM 40983000, ASCAORTA 54247002,
    ASCENDINGCOLON 9040008, AXILLA 91470000, BACK 77568009, BILEDUCT 28273000, BLADDER 89837001, BRAIN 12738006,
    BREAST 76752008, BRONCHUS 955009, BUTTOCK 46862004, CALCANEUS 80144004, CALF 53840002, CAROTID 69105007,
    CCA 32062004, CEREBELLUM 113305005, CEREBRALA 88556005, CERVIX 71252005, CHEEK 60819002, CHEST 816094009,
    CHESTABDOMEN 416550000, CHESTABDPELVIS 416775004, CIRCLEOFWILLIS 11279006, CLAVICLE 51299004, COCCYX 64688005,
    COLON 71854001, COMMONBILEDUCT 79741001, CORNEA 28726007, CORONARYARTERY 41801008, CSPINE 122494005,
    CTSPINE 1217257000, DESCAORTA 32672002, DESCENDINGCOLON 32622004, DUODENUM 38848004, EAR 117590005,
    ELBOW 16953009, ENDOMETRIUM 2739003, EPIDIDYMIS 87644002, ESOPHAGUS 32849002, EXTREMITY 66019005, EYE 81745001,
    EYELID 80243003, FACE 89545001, FEMORALA 7657000, FEMUR 71341001, FIBULA 87342007, FINGER 7569003,
    FLANK 58602004, FOOT 56459004, FOREARM 14975008, GALLBLADDER 28231008, GESTSAC 300571009, HAND 85562004,
    HEAD 69536005, HEADNECK 774007, HEART 80891009, HEPATICV 8993003, HIP 24136001, HUMERUS 85050009,
    HYPOPHARYNX 81502006, IAC 361078006, ICA 86117002, ILEUM 34516001, ILIACA 10293006, ILIUM 22356005,
    INFVENACAVA 64131007, INGUINAL 26893007, JAW 661005, JEJUNUM 21306003, KIDNEY 64033007, KNEE 72696002,
    LARGEINTESTINE 14742008, LARYNX 4596009, LEG 30021000, LIVER 10200004, LSPINE 122496007, LSSPINE 1217253001,
    LUNG 39607008, MASTOID 59066005, MAXILLA 70925003, MCA 17232002, MEDIASTINUM 72410000, MOUTH 123851003,
    NASOPHARYNX 360955006, NECK 45048000, NECKCHEST 417437006, NECKCHESTABDOMEN 416152001,
    NECKCHESTABDPELV 416319003, NOSE 45206002, OPTICCANAL 55024004, ORBIT 363654007, OVARY 15497006,
    PANCREAS 15776009, PANCREATICDUCT 69930009, PARATHYROID 111002, PAROTID 45289007, PATELLA 64234005,
    PELVIS 816092008, PENIS 18911002, PERINEUM 38864007, PHARYNX 54066008, PLACENTA 78067005, POPLITEALA 43899006,
    PORTALV 32764006, PROSTATE 41216001, PULMONARYA 81040000, RADIUS 62413002, RADIUSULNA 110535000,
    RECTUM 34402009, RENALA 2841007, RETROPERITONEUM 82849001, RIB 113197003, SCALP 41695006, SCAPULA 79601000,
    SCJOINT 7844006, SCLERA 18619003, SCROTUM 20233005, SELLA 42575006, SEMVESICLE 64739004, SESAMOID 58742003,
    SFA 181349008, SHOULDER 16982005, SIGMOID 60184004, SIJOINT 39723000, SKULL 89546000, SMALLINTESTINE 30315005,
    SPINALCORD 2748008, SPINE 421060004, SPLEEN 78961009, SSPINE 54735007, STERNUM 56873002, STOMACH 69695003,
    SUBMANDIBULAR 54019009, SVC 48345005, TESTIS 40689003, THIGH 68367000, THORACICAORTA 113262008,
    THORAX 43799004, THUMB 76505004, THYMUS 9875009, THYROID 69748006, TIBIA 12611008, TIBIAFIBULA 110536004,
    TLSPINE 1217256009, TMJ 53620006, TOE 29707007, TONGUE 21974007, TRACHEA 44567001, TRACHEABRONCHUS 110726009,
    TRANSVERSECOLON 485005, TSPINE 122495006, ULNA 23416004, UPRURINARYTRACT 431491007, URETER 87953007,
    URETHRA 13648007, UTERUS 35039007, VAGINA 76784001, VERTEBRALA 85234005, VULVA 45292006, WHOLEBODY 38266002,
    WRIST 74670003, ZYGOMA 13881006
    """,
    )
)
NO_DEFINED_TERM = {"MANDIBLE", "RETINA", "SACRUM", "SINUS", "SKIN"}  # but written by devices, and one word each
CAPTION_FIELDS_OTHERWISE = {
    "CALF",
    "GESTSAC",
    "THORAX",
    "WHOLEBODY",
}  # "calf of leg", "finding of ...", "thoracic cavity", "entire body"
VIEWS_PYDICOM_LACKS = {"RLD", "LLD", "RLO", "LLO", "LATERAL", "LAT"}  # the last two are no defined terms, but common
VIEWS_CAPTION_FIELDS_OTHERWISE = {"ML", "XCCL", "XCCM"}  # "medial-lateral", "cranio-caudal exaggerated laterally"


def words(meaning: str) -> str:
    """Compared without hyphens, articles and "joint"."""
    return re.sub(r"\b(joint|structure|region|the)\b|-", "", meaning.lower()).replace("  ", " ").strip()


def meanings(*collections: str) -> dict[str, set[str]]:
    """Code -> the words that pydicom has for it, of schemes or context groups of PS3.16."""
    found: dict[str, set[str]] = {}
    for collection in collections:
        for code in getattr(codes, collection).concepts.values():
            found.setdefault(code.value, set()).add(words(code.meaning))
    return found


def test_modalities_are_those_of_cid_29() -> None:
    assert set(TERMS["modality"]) <= set(meanings("CID29"))


def test_modalities_that_the_taxonomy_has_are_called_as_there() -> None:
    known = {code: fine_modality(name) for code, name in TERMS["modality"].items()}
    expected = {
        "CT": "ct",
        "MR": "mri",
        "DX": "x-ray",
        "MG": "mammography",
        "US": "ultrasound",
        "PT": "nuclear imaging",
    }
    expected |= {
        "OP": "fundus",
        "OPT": "oct",
        "IO": "dental radiography",
        "PX": "dental radiography",
        "ES": "endoscopy",
    }
    assert {code: known[code] for code in expected} == expected


def test_body_parts_are_those_of_annex_l_in_the_words_of_their_concepts() -> None:
    named, known = TERMS["body_part"], meanings("SCT")
    assert set(named) == set(ANNEX_L) | NO_DEFINED_TERM
    assert list(named) == sorted(named)
    differing = {code for code, concept in ANNEX_L.items() if words(named[code]) not in known[concept]}
    assert differing == CAPTION_FIELDS_OTHERWISE


def test_views_are_in_the_words_of_cid_4010_and_4014() -> None:
    known = set().union(*meanings("CID4010", "CID4014").values())
    unknown = {code for code, name in TERMS["view"].items() if words(name) not in known}
    assert unknown == (VIEWS_PYDICOM_LACKS | VIEWS_CAPTION_FIELDS_OTHERWISE) - {"LATERAL", "LAT"}
    breast = {"CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCCL", "XCCM"}
    assert len(breast) == len(meanings("CID4014")) - 1  # its last is a specimen
    assert set(TERMS["view"]) == breast | {"AP", "PA", "LL", "RL"} | VIEWS_PYDICOM_LACKS


@pytest.mark.parametrize("field", list(TERMS))
def test_codes_and_words_are_plain(field: str) -> None:
    for code, name in TERMS[field].items():
        assert re.fullmatch("[A-Z]+", code), code
        assert re.fullmatch("[A-Za-z][A-Za-z, -]*[A-Za-z]", name), name
