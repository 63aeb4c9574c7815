"""The recipes that come with mmkd, and any recipe by file or by name."""

from pathlib import Path

from mmkd.errors import ConfigError

RECIPES = Path(__file__).parents[1] / "recipes"
SHIPPED = tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def recipe_file(recipe: Path) -> Path:
    """The file, or for a name without a file (`demo`) the recipe of that name that comes with mmkd."""
    if recipe.is_file():
        return recipe
    if str(recipe) in SHIPPED:
        return RECIPES / f"{recipe}.toml"
    raise ConfigError(f"{recipe}: no such file; give a recipe's file, or one of mmkd's own: {', '.join(SHIPPED)}")
