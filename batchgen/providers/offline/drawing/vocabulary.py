"""The words that the offline provider understands, in English and German.

A stem is matched whole (with a plural ending), `stem*` at a word's start, `*stem` at its end, `*stem*` anywhere.
One with a capital counts only where the prompt has the capital too (German `See` is a lake, `see` is not).
"""

from collections.abc import Mapping

from batchgen.providers.offline.drawing.colours import RGB, rgb

TIMES: Mapping[str, str] = {
    "dawn": "dawn sunrise morning* daybreak sonnenaufgang* morgen* daemmerung*",
    "sunset": "sunset dusk evening golden-hour goldenhour sonnenuntergang* abend* *abendrot",
    "night": "night* midnight moon* moonlit nacht* *nacht mond* nights starry star* sternen* sterne neon cyberpunk "
    "aurora* borealis northern-lights nordlicht* polarlicht*",
    "day": "day daylight noon sunny sun sunshine mittag* tag sonnig* sonne",
}
WEATHER: Mapping[str, str] = {
    "snow": "snow* winter* schnee* verschneit* ice icy eis frost* blizzard arctic",
    "storm": "storm* sturm* thunder* lightning* gewitter* blitz* tempest*",
    "rain": "rain rainy raining regen* monsoon",
    "fog": "fog* mist misty nebel* neblig* haze hazy dunst*",
}
PLACES: Mapping[str, str] = {
    "sea": "sea ocean* beach* coast* wave island* meer* ozean* strand* kueste* welle insel* harbor harbour hafen*",
    "lake": "lake* pond river* fjord* See *bergsee teich* fluss* bach waterfall* wasserfall* seen",
    "desert": "desert* dune* sahara wueste* duene* canyon* mars sand sandy",
    "field": "field* meadow* garden* wiese* feld* garten* prairie lavender lavendel* spring fruehling* hill huegel",
    "city": "city cities cityscape* skyline* street* downtown urban cyberpunk neon stadt* *stadt strasse* "
    "skyscraper* hochhaus* tokyo york alley* metropol* berlin",
    "space": "space* planet* galax* nebula* cosmos cosmic universe orbit* weltraum* weltall* *galaxie astronaut*",
    "underwater": "underwater* unterwasser* reef* coral* koralle* korallenriff deep-sea tiefsee* aquarium*",
    "forest": "forest* wood woods woodland* jungle* wald* *wald pine* tanne* *trees",
    "mountains": "mountain* alps alpine peak* berg berge bergen gebirge* alpen* gipfel* *berge fjord* volcano* "
    "vulkan* bergsee himalaya*",
}
EXTRAS: Mapping[str, str] = {
    "stars": "star* starry sternen* sterne milky galaxy",
    "moon": "moon* mond* *mond",
    "flowers": "flower* blume* bluete* bloom* blossom* rose* tulip* tulpe* poppy poppies mohn* sunflower* "
    "sonnenblume* daisy daisies garden* garten* lavender lavendel* *blume *blumen meadow*",
    "aurora": "aurora* northern-lights borealis nordlicht* polarlicht*",
    "blossom": "cherry kirschbluete* kirschbaum* sakura blossom*",
    "tree": "tree baum* oak eiche* cherry kirschbaum*",
}
SUBJECTS: Mapping[str, str] = {
    "fox": "fox foxes fuchs* fuechs* vixen",
    "wolf": "wolf* wolves husky",
    "cat": "cat kitten* katze* kater kitty",
    "dog": "dog puppy puppies hund* welpe* corgi* dachshund*",
    "bear": "bear bears baer* panda* teddy*",
    "rabbit": "rabbit* bunny bunnies hare hase* kaninchen*",
    "lion": "lion loewe*",
    "owl": "owl eule* uhu",
    "bird": "bird birds vogel* voegel* seagull* moewe* eagle adler* swallow raven rabe crow",
    "fish": "fish fishes goldfish* fisch* koi clownfish",
    "whale": "whale* wal wale blauwal* *wal orca*",
    "horse": "horse* pferd* pony ponies",
    "deer": "deer stag hirsch* reh moose elk elch*",
    "robot": "robot* roboter* android* cyborg* droid* mech",
    "face": "portrait* portraet* face woman man girl boy person gesicht* frau mann maedchen junge king queen",
    "astronaut": "astronaut* cosmonaut* kosmonaut* spaceman",
    "house": "house cabin* cottage* hut haus* huette* *haus *huette farm* barn scheune* village* dorf",
    "castle": "castle* schloss* burg fortress* palace* palast* *schloss tower turm",
    "lighthouse": "lighthouse* leuchtturm* leuchttuerme*",
    "boat": "boat* sailboat* boot* segelboot* ship* schiff* *schiff yacht* *boat sailing",
    "balloon": "balloon* ballon* heissluftballon* airship*",
    "rocket": "rocket* rakete* spaceship* raumschiff* spacecraft shuttle",
}
STYLES: Mapping[str, str] = {
    "watercolor": "watercolor* watercolour* aquarell* painterly impressionis* oelgemaelde oil-painting",
    "minimal": "minimal* simple schlicht*",
    "geometric": "geometric* geometrisch* low-poly lowpoly polygon* cubis* kubis*",
    "pixel": "pixel* 8-bit 16-bit",
    "mono": "monochrome* monochrom* noir black-and-white schwarzweiss* grayscale greyscale",
    "retro": "vintage* retro* sepia* nostalg*",
    "abstract": "abstract* abstrakt*",
    "pastel": "pastel* soft zart*",
    "vivid": "vivid* colorful* colourful* bunt* farbenfroh* vibrant* neon",
}
_COLOURS = {
    "c8342b": "red rot rote roter rotes roten crimson scarlet",
    "e8772e": "orange orangefarben* orangener",
    "e2b13c": "gold golden goldene* yellow gelb*",
    "3f9a4e": "green gruen* emerald",
    "22908c": "teal turquoise tuerkis* cyan petrol",
    "2f6fc4": "blue blau* navy azure",
    "7b4bb8": "purple violet lila violett* lavender",
    "e2729f": "pink rosa magenta",
    "7a5236": "brown braun*",
    "f2efe8": "white weiss*",
    "2a2a33": "black schwarz*",
    "8d939c": "gray grey grau* silver silber*",
}
COLOURS: Mapping[str, RGB] = {stem: rgb(code) for code, stems in _COLOURS.items() for stem in stems.split()}


def means(stems: str, raw: str, folded: str) -> bool:
    """Whether a word of the prompt (as written, and folded to small ASCII letters) is one of these."""
    return any(_matches(stem, raw, folded) for stem in stems.split())


def _matches(stem: str, raw: str, folded: str) -> bool:
    if not stem.islower():
        return raw == stem
    core = stem.strip("*")
    if stem.startswith("*"):
        return folded.endswith(core) or (stem.endswith("*") and core in folded)
    if stem.endswith("*"):
        return folded.startswith(core)
    return folded in (core, core + "s", core + "es", core + "en", core + "n")
