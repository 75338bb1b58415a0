"""Other names of places: what people write, and how the city and country lists spell it. Data only."""

from __future__ import annotations

# Folded as places.fold does: lower case, no accents, no punctuation. Other name -> the list's name, country code.
CITY_ALIASES: dict[str, tuple[str, str]] = {
    "new york": ("new york city", "US"), "nyc": ("new york city", "US"), "la": ("los angeles", "US"),
    "sf": ("san francisco", "US"),
    "washington dc": ("washington", "US"), "washington d c": ("washington", "US"), "cologne": ("koln", "DE"),
    "nuremberg": ("nurnberg", "DE"), "frankfurt": ("frankfurt am main", "DE"), "hanover": ("hannover", "DE"),
    "geneva": ("geneve", "CH"), "lucerne": ("luzern", "CH"), "berne": ("bern", "CH"), "seville": ("sevilla", "ES"),
    "saragossa": ("zaragoza", "ES"), "gothenburg": ("goteborg", "SE"), "antwerp": ("antwerpen", "BE"), "ghent": ("gent", "BE"),
    "bruges": ("brugge", "BE"), "liege": ("liege", "BE"), "cracow": ("krakow", "PL"), "lyons": ("lyon", "FR"),
    "marseilles": ("marseille", "FR"), "leghorn": ("livorno", "IT"), "roma": ("rome", "IT"), "milano": ("milan", "IT"),
    "napoli": ("naples", "IT"), "firenze": ("florence", "IT"), "venezia": ("venice", "IT"), "torino": ("turin", "IT"),
    "wien": ("vienna", "AT"), "munchen": ("munich", "DE"), "praha": ("prague", "CZ"), "warszawa": ("warsaw", "PL"),
    "lisboa": ("lisbon", "PT"), "moskva": ("moscow", "RU"), "st petersburg": ("saint petersburg", "RU"),
    "kiev": ("kyiv", "UA"), "odessa": ("odesa", "UA"), "athina": ("athens", "GR"), "kobenhavn": ("copenhagen", "DK"),
    "bangalore": ("bengaluru", "IN"), "calcutta": ("kolkata", "IN"), "bombay": ("mumbai", "IN"), "madras": ("chennai", "IN"),
    "peking": ("beijing", "CN"), "canton": ("guangzhou", "CN"), "saigon": ("ho chi minh city", "VN"), "rangoon": ("yangon", "MM"),
    "panama city": ("panama", "PA"), "guatemala": ("guatemala city", "GT"), "mexico df": ("mexico city", "MX"),
    "quebec city": ("quebec", "CA"), "rio": ("rio de janeiro", "BR"), "ulaanbaatar": ("ulan bator", "MN"),
    "kuwait": ("kuwait city", "KW"),
    "joburg": ("johannesburg", "ZA"), "luxembourg city": ("luxembourg", "LU"), "tel aviv yafo": ("tel aviv", "IL"),
    "mecca": ("makkah", "SA"), "medina": ("madinah", "SA"), "marrakech": ("marrakesh", "MA"), "fez": ("fes", "MA"),
    "esfahan": ("isfahan", "IR"), "cuzco": ("cusco", "PE"), "lvov": ("lviv", "UA"), "kharkov": ("kharkiv", "UA"),
    "palma de mallorca": ("palma", "ES"), "mallorca": ("palma", "ES"), "majorca": ("palma", "ES"),
    "den haag": ("the hague", "NL"),
    "danzig": ("gdansk", "PL"), "basle": ("basel", "CH"), "oporto": ("porto", "PT"), "pusan": ("busan", "KR"),
    "las palmas": ("las palmas de gran canaria", "ES"), "nizhny novgorod": ("nizhniy novgorod", "RU"),
    "newcastle": ("newcastle upon tyne", "GB"), "naypyidaw": ("nay pyi taw", "MM"), "ho chi minh": ("ho chi minh city", "VN"),
    "bali": ("denpasar", "ID"), "crete": ("irakleion", "GR"), "tenerife": ("santa cruz de tenerife", "ES"),
    "macao": ("macau", "MO"),
}  # fmt: skip

# Other name -> country code, and, where the name is only a part of the country, that part's code in the holidays package.
COUNTRY_ALIASES: dict[str, tuple[str, str | None]] = {
    "uk": ("GB", None), "great britain": ("GB", None), "britain": ("GB", None), "england": ("GB", "ENG"),
    "scotland": ("GB", "SCT"),
    "wales": ("GB", "WLS"), "northern ireland": ("GB", "NIR"), "us": ("US", None), "usa": ("US", None), "america": ("US", None),
    "united states of america": ("US", None), "the states": ("US", None), "u s": ("US", None), "u s a": ("US", None),
    "u k": ("GB", None),
    "holland": ("NL", None), "the netherlands": ("NL", None), "czechia": ("CZ", None), "czech republic": ("CZ", None),
    "korea": ("KR", None), "republic of korea": ("KR", None), "russian federation": ("RU", None),
    "viet nam": ("VN", None), "burma": ("MM", None),
    "uae": ("AE", None), "emirates": ("AE", None), "ivory coast": ("CI", None),
    "turkiye": ("TR", None), "brunei": ("BN", None), "cabo verde": ("CV", None),
    "macau": ("MO", None),
    "vatican": ("VA", None), "holy see": ("VA", None), "east timor": ("TL", None),
    "eswatini": ("SZ", None), "swaziland": ("SZ", None), "dr congo": ("CD", None), "drc": ("CD", None),

    "republic of ireland": ("IE", None), "eire": ("IE", None), "hellas": ("GR", None), "deutschland": ("DE", None),
    "espana": ("ES", None), "italia": ("IT", None), "brasil": ("BR", None), "osterreich": ("AT", None), "schweiz": ("CH", None),
    "the philippines": ("PH", None), "the bahamas": ("BS", None), "the gambia": ("GM", None),
}  # fmt: skip

# The country list's formal names, as people say them.
COUNTRY_NAMES = {
    "CD": "DR Congo", "CG": "Republic of the Congo", "FM": "Micronesia", "IR": "Iran", "KP": "North Korea", "KR": "South Korea",
    "LA": "Laos", "LY": "Libya", "MD": "Moldova", "MK": "North Macedonia", "PS": "Palestine", "RU": "Russia", "SY": "Syria",
    "TZ": "Tanzania", "VA": "Vatican City", "VG": "British Virgin Islands", "VI": "U.S. Virgin Islands", "BL": "Saint Barthélemy",
}  # fmt: skip

# Postal abbreviation -> state or province, per country.
STATE_ABBREVIATIONS: dict[str, dict[str, str]] = {
    "US": {
        "al": "alabama", "ak": "alaska", "az": "arizona", "ar": "arkansas", "ca": "california", "co": "colorado",
        "ct": "connecticut",
        "de": "delaware", "dc": "district of columbia", "fl": "florida", "ga": "georgia", "hi": "hawaii", "id": "idaho",
        "il": "illinois", "in": "indiana", "ia": "iowa", "ks": "kansas", "ky": "kentucky", "la": "louisiana", "me": "maine",
        "md": "maryland", "ma": "massachusetts", "mi": "michigan", "mn": "minnesota", "ms": "mississippi", "mo": "missouri",
        "mt": "montana", "ne": "nebraska", "nv": "nevada", "nh": "new hampshire", "nj": "new jersey", "nm": "new mexico",
        "ny": "new york", "nc": "north carolina", "nd": "north dakota", "oh": "ohio", "ok": "oklahoma", "or": "oregon",
        "pa": "pennsylvania", "ri": "rhode island", "sc": "south carolina", "sd": "south dakota", "tn": "tennessee",
        "tx": "texas",
        "ut": "utah", "vt": "vermont", "va": "virginia", "wa": "washington", "wv": "west virginia", "wi": "wisconsin",
        "wy": "wyoming",
    },
    "CA": {
        "ab": "alberta", "bc": "british columbia", "mb": "manitoba", "nb": "new brunswick", "nl": "newfoundland and labrador",
        "nt": "northwest territories", "ns": "nova scotia", "nu": "nunavut", "on": "ontario", "pe": "prince edward island",
        "qc": "quebec", "sk": "saskatchewan", "yt": "yukon",
    },
    "AU": {
        "act": "australian capital territory", "nsw": "new south wales", "nt": "northern territory", "qld": "queensland",
        "sa": "south australia", "tas": "tasmania", "vic": "victoria", "wa": "western australia",
    },
}  # fmt: skip
