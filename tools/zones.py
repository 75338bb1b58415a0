"""The time zone of a point in a country, from the coordinates in the tz database's own zone.tab and a table of states.

zone.tab has one point a zone. The nearest is right where a country's zones lie far apart, but Dallas is nearer to Indiana's zones
than to Chicago: where states decide, the table below does. Knows borders inside a state only roughly.
"""

from __future__ import annotations

import functools
import math
import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Box(NamedTuple):
    """A part of a state with another zone: degrees of longitude and latitude."""

    zone: str
    west: float = -180
    east: float = 180
    south: float = -90
    north: float = 90


# Country, zone, and its states; * is the rest of the country.
_STATES = """
US America/New_York *
US America/Chicago Alabama|Arkansas|Illinois|Iowa|Kansas|Louisiana|Minnesota|Mississippi|Missouri|Nebraska|North Dakota|Oklahoma
US America/Chicago South Dakota|Tennessee|Texas|Wisconsin
US America/Denver Colorado|Montana|New Mexico|Utah|Wyoming
US America/Boise Idaho
US America/Phoenix Arizona
US America/Los_Angeles California|Nevada|Oregon|Washington
US America/Anchorage Alaska
US Pacific/Honolulu Hawaii
US America/Detroit Michigan
US America/Indiana/Indianapolis Indiana
CA America/Toronto *
CA America/Vancouver British Columbia
CA America/Edmonton Alberta|Northwest Territories
CA America/Regina Saskatchewan
CA America/Winnipeg Manitoba
CA America/Halifax New Brunswick|Nova Scotia|Prince Edward Island
CA America/St_Johns Newfoundland and Labrador
CA America/Whitehorse Yukon
CA America/Iqaluit Nunavut
AU Australia/Sydney *
AU Australia/Brisbane Queensland
AU Australia/Adelaide South Australia
AU Australia/Darwin Northern Territory
AU Australia/Perth Western Australia
AU Australia/Melbourne Victoria
AU Australia/Hobart Tasmania
BR America/Sao_Paulo *
BR America/Rio_Branco Acre
BR America/Manaus Amazonas
BR America/Porto_Velho Rondônia
BR America/Boa_Vista Roraima
BR America/Cuiaba Mato Grosso
BR America/Campo_Grande Mato Grosso do Sul
MX America/Mexico_City *
MX America/Tijuana Baja California
MX America/Mazatlan Baja California Sur|Nayarit|Sinaloa
MX America/Hermosillo Sonora
MX America/Chihuahua Chihuahua
MX America/Monterrey Coahuila|Durango|Nuevo León|Tamaulipas
MX America/Cancun Quintana Roo
RU Europe/Moscow *
RU Europe/Kaliningrad Kaliningrad Oblast
RU Europe/Samara Samara Oblast|Udmurtiya Republic
RU Europe/Astrakhan Astrakhan Oblast
RU Europe/Saratov Saratov Oblast
RU Europe/Ulyanovsk Ulyanovsk
RU Asia/Yekaterinburg Bashkortostan Republic|Chelyabinsk|Khanty-Mansia|Kurgan Oblast|Orenburg Oblast|Perm Krai|Sverdlovsk Oblast
RU Asia/Yekaterinburg Tyumen Oblast|Yamalo-Nenets
RU Asia/Omsk Omsk Oblast
RU Asia/Barnaul Altai|Altai Krai
RU Asia/Novosibirsk Novosibirsk Oblast
RU Asia/Tomsk Tomsk Oblast
RU Asia/Novokuznetsk Kuzbass
RU Asia/Krasnoyarsk Krasnoyarsk Krai|Khakasiya Republic|Republic of Tyva
RU Asia/Irkutsk Irkutsk Oblast|Buryatiya Republic
RU Asia/Yakutsk Sakha|Amur Oblast
RU Asia/Chita Zabaykalskiy (Transbaikal) Kray
RU Asia/Vladivostok Primorye|Khabarovsk|Jewish Autonomous Oblast
RU Asia/Magadan Magadan Oblast
RU Asia/Sakhalin Sakhalin Oblast
RU Asia/Kamchatka Kamchatka
RU Asia/Anadyr Chukotka
CN Asia/Shanghai *
CN Asia/Urumqi Xinjiang
CL America/Santiago *
CL America/Coyhaique Aysén
CL America/Punta_Arenas Region of Magallanes
UA Europe/Kyiv *
UA Europe/Simferopol Crimea|Sevastopol City
NZ Pacific/Auckland *
NZ Pacific/Chatham Chatham Islands
ID Asia/Jakarta *
ID Asia/Pontianak West Kalimantan|Central Kalimantan
ID Asia/Makassar Bali|Central Sulawesi|East Kalimantan|East Nusa Tenggara|Gorontalo|North Kalimantan|North Sulawesi
ID Asia/Makassar South Kalimantan|South Sulawesi|Southeast Sulawesi|West Nusa Tenggara|West Sulawesi
ID Asia/Jayapura Central Papua|Highland Papua|Maluku|North Maluku|Papua|South Papua|Southwest Papua|West Papua
CD Africa/Lubumbashi *
CD Africa/Kinshasa Bas-Congo|Kinshasa|Kwango|Kwilu|Mai-Ndombe|Mongala|Nord-Ubangi|Sud-Ubangi|Tshuapa|Équateur
PG Pacific/Port_Moresby *
PG Pacific/Bougainville Bougainville
MN Asia/Ulaanbaatar *
MN Asia/Hovd Bayan-Ölgii Province|Hovd|Uvs Province
XK Europe/Belgrade *
"""
_PARTS: dict[tuple[str, str], tuple[Box, ...]] = {
    ("US", "Texas"): (Box("America/Denver", east=-104.9),),
    ("US", "Florida"): (Box("America/Chicago", east=-85.1),),
    ("US", "Tennessee"): (Box("America/New_York", west=-85.35, north=35.6), Box("America/New_York", west=-84.9)),
    ("US", "Kentucky"): (Box("America/Chicago", east=-86.2),),
    ("US", "Indiana"): (Box("America/Chicago", east=-86.6, south=41.2), Box("America/Chicago", east=-86.6, north=38.3)),
    ("US", "Michigan"): (Box("America/Menominee", east=-87.5, north=46.48),),
    ("US", "Nebraska"): (Box("America/Denver", east=-101.2),),
    ("US", "Kansas"): (Box("America/Denver", east=-101.5),),
    ("US", "North Dakota"): (Box("America/Denver", east=-101.9, north=47.5),),
    ("US", "South Dakota"): (Box("America/Denver", east=-100.6),),
    ("US", "Idaho"): (Box("America/Los_Angeles", south=45.5),),
    ("US", "Oregon"): (Box("America/Boise", west=-117.3, north=44.6),),
    ("US", "Alaska"): (Box("America/Adak", east=-169.5),),
    ("CA", "British Columbia"): (Box("America/Edmonton", west=-117.0), Box("America/Dawson_Creek", west=-122.9, south=55.3)),
    ("CA", "Ontario"): (Box("America/Winnipeg", east=-90.5),),
    ("CA", "Saskatchewan"): (Box("America/Edmonton", east=-109.9, south=53.2),),
    ("CA", "Newfoundland and Labrador"): (Box("America/Goose_Bay", east=-56.5, south=51.8),),
    ("CA", "Nunavut"): (Box("America/Cambridge_Bay", east=-102), Box("America/Rankin_Inlet", east=-85)),
    ("AU", "New South Wales"): (Box("Australia/Broken_Hill", east=141.9, north=-31.0),),
    ("BR", "Amazonas"): (Box("America/Eirunepe", east=-69),),
    ("BR", "Pernambuco"): (Box("America/Noronha", west=-34),),
    ("MX", "Nayarit"): (Box("America/Bahia_Banderas", east=-105.1, north=20.9),),
    ("MX", "Chihuahua"): (Box("America/Ciudad_Juarez", south=31.0), Box("America/Ojinaga", west=-104.8, south=29.3)),
    ("MX", "Coahuila"): (Box("America/Matamoros", south=28.6, west=-101.2),),
    ("MX", "Tamaulipas"): (Box("America/Matamoros", south=25.7),),
    ("CL", "Valparaíso"): (Box("Pacific/Easter", east=-100),),
    ("RU", "Sakha"): (Box("Asia/Srednekolymsk", west=147, south=66), Box("Asia/Vladivostok", west=138, south=62.5)),
    ("RU", "Sakhalin Oblast"): (Box("Asia/Srednekolymsk", west=146.5),),
}


class _Zone(NamedTuple):
    name: str
    latitude: float
    longitude: float


def zone_at(country: str, state: str, latitude: float, longitude: float) -> str:
    """The IANA name of the zone at a point (degrees) of a country (ISO code) and state (the city list's spelling, or '')."""
    for box in _PARTS.get((country, state), ()):
        if box.west <= longitude < box.east and box.south <= latitude < box.north:
            return box.zone
    by_state = _states().get(country)
    if by_state:
        return by_state.get(state, by_state["*"])
    zones = _zones()[country]
    nearest = min(zones, key=lambda zone: _distance(zone, latitude, longitude))
    return zones[0].name if _same_clock(nearest.name, zones[0].name) else nearest.name


@functools.cache
def _states() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for line in _STATES.strip().splitlines():
        country, zone, states = line.split(" ", 2)
        table.setdefault(country, {}).update(dict.fromkeys(states.split("|"), zone))
    return table


@functools.cache
def _zones() -> dict[str, list[_Zone]]:
    """Country code -> its zones, the main one first, as in zone.tab."""
    zones: dict[str, list[_Zone]] = {}
    for line in (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            country, point, name = line.split("\t")[:3]
            latitude, longitude = re.findall(r"[+-]\d+", point)
            zones.setdefault(country, []).append(_Zone(name, _degrees(latitude, 2), _degrees(longitude, 3)))
    return zones


def _degrees(text: str, width: int) -> float:
    """Degrees from ISO 6709: sign, `width` digits of degrees, two of minutes, perhaps two of seconds."""
    digits = text[1:]
    value = int(digits[:width]) + int(digits[width : width + 2]) / 60 + int(digits[width + 2 :] or 0) / 3600
    return -value if text[0] == "-" else value


def _distance(zone: _Zone, latitude: float, longitude: float) -> float:
    east = (zone.longitude - longitude + 540) % 360 - 180
    return (zone.latitude - latitude) ** 2 + (east * math.cos(math.radians(latitude))) ** 2


@functools.cache
def _same_clock(one: str, other: str) -> bool:
    moments = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    first, second = ZoneInfo(one), ZoneInfo(other)
    return all(moment.astimezone(first).utcoffset() == moment.astimezone(second).utcoffset() for moment in moments)
