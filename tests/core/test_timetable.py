"""When schedules fire: arithmetic without a store."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.core.errors import Invalid
from taskyard.core.schedule import Timing
from taskyard.service.timetable import Timetable, instant_of, parse

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

#: Where the clocks change at two, at one, at midnight, by half an hour, before and after each other, in the south, and not at all.
# fmt: off
ZONES = [
    "Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Dublin", "Europe/Athens", "Europe/Kyiv",
    "Europe/Chisinau", "Europe/Moscow", "Europe/Istanbul", "Atlantic/Azores", "Atlantic/Reykjavik",
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Lagos", "Africa/Johannesburg",
    "Asia/Beirut", "Asia/Jerusalem", "Asia/Gaza", "Asia/Hebron", "Asia/Nicosia", "Asia/Tehran",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Shanghai", "Asia/Tokyo", "Asia/Almaty", "Australia/Sydney",
    "Australia/Adelaide", "Australia/Brisbane", "Australia/Eucla", "Australia/Lord_Howe",
    "Pacific/Auckland", "Pacific/Chatham", "Pacific/Norfolk", "Pacific/Apia", "Pacific/Kiritimati",
    "Pacific/Easter", "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix",
    "America/Los_Angeles", "America/Anchorage", "America/Adak", "America/Havana", "America/St_Johns",
    "America/Halifax", "America/Miquelon", "America/Santiago", "America/Asuncion", "America/Sao_Paulo",
    "America/Nuuk", "America/Port-au-Prince", "Antarctica/Troll", "UTC",
]
# fmt: on


def table(timing: str, spec: str, zone: str = "UTC", anchor: datetime = NOW, **bounds: datetime) -> Timetable:
    return Timetable(spec=parse(Timing(timing), spec, zone), anchor=anchor, **bounds)


def instants(timetable: Timetable, since: datetime, number: int) -> list[str]:
    found: list[str] = []
    instant = timetable.first(since)
    while instant is not None and len(found) < number:
        found.append(instant.isoformat().removesuffix("+00:00"))
        instant = timetable.after(instant)
    return found


# -- at ----------------------------------------------------------------------------------------------------------------------


def test_at_fires_once():
    at = table("at", "2026-03-01T14:00:00+01:00")

    assert instants(at, NOW, 2) == ["2026-03-01T13:00:00"]
    assert at.after(datetime(2026, 3, 1, 13, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "spec", ["2026-03-01T14:00:00", "2026-02-30T14:00:00Z", "tomorrow", "2026-03-01", "", "2026"]
)
def test_a_time_without_its_offset_or_out_of_the_calendar_is_refused(spec):
    with pytest.raises(Invalid, match="is not a time; write it as RFC 3339 does") as refusal:
        parse(Timing.AT, spec)
    assert repr(spec) in str(refusal.value)
    assert refusal.value.faults[0].pointer == "/spec"


# -- interval ------------------------------------------------------------------------------------------------------------------


def test_an_interval_without_a_start_begins_at_its_anchor():
    assert instants(table("interval", "PT20M"), NOW, 3) == [
        "2026-03-01T12:00:00",
        "2026-03-01T12:20:00",
        "2026-03-01T12:40:00",
    ]


def test_an_interval_is_counted_from_its_start_however_late_one_looks():
    hourly = table("interval", "2026-03-01T06:30:00Z/PT1H")

    assert instants(hourly, NOW, 2) == ["2026-03-01T12:30:00", "2026-03-01T13:30:00"]
    assert hourly.first(datetime(2036, 3, 1, 6, 30, 0, 1, tzinfo=UTC)) == datetime(
        2036, 3, 1, 7, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "spec",
    [
        "R3/2026-03-01T13:00:00Z/P1D",
        "R3--2026-03-01T13:00:00Z--P1D",
        "P1D/R3/2026-03-01T13:00:00Z",
        "2026-03-01T14:00:00+01:00/R3/PT24H",
    ],
)
def test_the_parts_of_an_interval_stand_in_any_order(spec):
    assert parse(Timing.INTERVAL, spec).runs == 3
    assert instants(table("interval", spec), NOW, 1) == ["2026-03-01T13:00:00"]


def test_a_start_without_an_offset_is_on_the_wall_clock_of_the_zone():
    assert instants(table("interval", "2026-03-02T09:00:00/P1D", "Asia/Tokyo"), NOW, 1) == [
        "2026-03-02T00:00:00"
    ]


def test_a_month_after_the_31st_is_the_last_day_and_does_not_drift():
    monthly = table("interval", "2026-01-31T09:00:00Z/P1M")

    assert instants(monthly, datetime(2026, 1, 1, tzinfo=UTC), 5) == [
        "2026-01-31T09:00:00",
        "2026-02-28T09:00:00",
        "2026-03-31T09:00:00",
        "2026-04-30T09:00:00",
        "2026-05-31T09:00:00",
    ]


def test_months_keep_the_hour_of_the_zone_when_its_clocks_change():
    monthly = table("interval", "2026-03-01T09:00:00/P1M", "Europe/Berlin")

    assert instants(monthly, NOW, 2) == ["2026-04-01T07:00:00", "2026-05-01T07:00:00"]
    assert instants(monthly, datetime(2026, 11, 1, tzinfo=UTC), 1) == ["2026-11-01T08:00:00"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("R3", "the duration is missing"),
        ("P1D/PT1H", "the duration stands twice"),
        ("R2/R3/P1D", "the repetition stands twice"),
        ("2026-01-01T00:00:00Z/2027-01-01T00:00:00Z/P1D", "the start stands twice"),
        ("R0/P1D", "0 runs are asked for"),
        ("P1M", "they need a start"),
        ("R3/P1Y", "they need a start"),
        ("2026-01-01T00:00:00Z/P1.5M", "can only be whole"),
        ("PT0S", "less than a second"),
        ("PT0.9S", "less than a second"),
        ("-P1D", "less than a second"),
        ("P", "'P' is not a duration"),
        ("PT", "says nothing"),
        ("P1DT", "says nothing"),
        ("P99999999999D", "is not a duration"),
        ("every hour", "'every hour' is neither"),
        ("2026-02-30T00:00:00Z/P1D", "is neither"),
        ("P1D/", "'' is neither"),
        ("", "'' is neither"),
    ],
)
def test_a_bad_interval_is_refused_with_the_reason_and_an_example(spec, why):
    with pytest.raises(Invalid, match=r"write \[R<runs>/\]\[<start>/\]<duration>") as refusal:
        parse(Timing.INTERVAL, spec)
    assert why in str(refusal.value)


@given(
    seconds=st.integers(1, 10**7),
    since=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_the_next_of_an_interval_is_on_the_grid_and_the_first_of_it(seconds, since):
    every = timedelta(seconds=seconds)
    found = table("interval", f"2000-01-01T00:00:00Z/PT{seconds}S").first(since)

    start = datetime(2000, 1, 1, tzinfo=UTC)
    assert found is not None
    assert found >= since
    assert (found - start) % every == timedelta(0)
    assert found == start or found - every < since


@given(months=st.integers(1, 30), step=st.integers(0, 300), day=st.integers(1, 31))
def test_every_instant_of_a_calendar_interval_follows_the_one_before(months, step, day):
    monthly = table("interval", f"2000-01-{day:02}T00:00:00Z/P{months}M")
    spec = monthly.spec
    one, two = islice(spec.instants(spec._instant(spec.start, step) - timedelta(microseconds=1), NOW), 2)

    assert one == spec._instant(spec.start, step)
    assert two == spec._instant(spec.start, step + 1)


# -- cron ----------------------------------------------------------------------------------------------------------------------


def test_cron_fires_when_its_fields_say():
    weekdays = table("cron", "30 9 * * MON-FRI", "Europe/Berlin")

    assert instants(weekdays, NOW, 2) == ["2026-03-02T08:30:00", "2026-03-03T08:30:00"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_nightly_job_fires_exactly_once_on_every_local_day_for_ten_years(zone):
    here = ZoneInfo(zone)
    nightly = table("cron", "30 2 * * *", zone)
    begin, end = datetime(2026, 1, 1, tzinfo=here), date(2036, 1, 1)

    day, days = begin.date(), 0
    for instant in nightly._from(begin.astimezone(UTC)):
        local = instant.astimezone(here)
        if local.date() == end:
            break
        assert local.date() == day, f"{day} in {zone}"
        wall = datetime(day.year, day.month, day.day, 2, 30)  # noqa: DTZ001
        if (
            local.replace(tzinfo=None) != wall
        ):  # then there was no half past two, and it is the end of the gap
            assert (instant - timedelta(microseconds=1)).astimezone(here).replace(tzinfo=None) < wall
            assert local.replace(tzinfo=None) > wall
        day, days = day + timedelta(days=1), days + 1
    assert days == (end - date(2026, 1, 1)).days


@pytest.mark.parametrize("hour", [0, 1, 3, 23])
@pytest.mark.parametrize(
    "zone",
    [
        "America/Havana",
        "America/Santiago",
        "Asia/Beirut",
        "Europe/London",
        "Africa/Cairo",
        "Australia/Lord_Howe",
    ],
)
def test_a_daily_job_fires_once_a_day_where_the_clocks_change_at_another_hour(zone, hour):
    here = ZoneInfo(zone)
    daily = table("cron", f"30 {hour} * * *", zone)
    since = datetime(2026, 1, 1, tzinfo=here).astimezone(UTC)

    days = [instant.astimezone(here).date() for instant in islice(daily._from(since), 730)]

    assert days == [date(2026, 1, 1) + timedelta(days=each) for each in range(730)]


def test_a_time_in_the_gap_fires_at_the_first_instant_after_it():
    nightly = table("cron", "30 2 * * *", "Europe/Berlin")  # on 29 March 02:00 becomes 03:00

    assert instants(nightly, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "2026-03-29T01:00:00",
        "2026-03-30T00:30:00",
    ]


def test_several_times_in_one_gap_fire_once_together():
    quarters = table("cron", "*/15 2 * * *", "Europe/Berlin")
    since = datetime(2026, 3, 28, 12, tzinfo=UTC)
    after_gap = datetime(2026, 3, 29, 1, tzinfo=UTC)

    assert instants(quarters, since, 2) == ["2026-03-29T01:00:00", "2026-03-30T00:00:00"]
    assert quarters.newest(since, after_gap, 9) == ([after_gap], False)


def test_a_time_that_comes_twice_fires_the_first_time_only():
    nightly = table("cron", "30 2 * * *", "Europe/Berlin")  # on 25 October 03:00 becomes 02:00
    quarters = table("cron", "30,45 2 * * *", "Europe/Berlin")

    since = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert instants(nightly, since, 2) == ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]
    assert instants(quarters, since, 3) == [
        "2026-10-25T00:30:00",
        "2026-10-25T00:45:00",
        "2026-10-26T01:30:00",
    ]
    assert instants(nightly, datetime(2026, 10, 25, 1, tzinfo=UTC), 1) == ["2026-10-26T01:30:00"]


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "America/Santiago"]
)
@pytest.mark.parametrize("year_day", [date(2026, 1, 1), date(2026, 7, 1)])
def test_every_hour_is_every_hour_that_passes(zone, year_day):
    hourly = table("cron", "0 * * * *", zone)
    since = datetime(year_day.year, year_day.month, year_day.day, tzinfo=UTC)

    found = list(islice(hourly._from(since), 24 * 184))

    steps = {later - earlier for earlier, later in pairwise(found)}
    half_hours = {timedelta(minutes=30), timedelta(minutes=90)} if zone == "Australia/Lord_Howe" else set()
    assert steps - half_hours == {timedelta(hours=1)}


def test_a_day_that_a_zone_left_out_is_made_up_for_at_its_end():
    noons = table("cron", "0 12 * * *", "Pacific/Apia")  # 30 December 2011 never came there

    assert instants(noons, datetime(2011, 12, 30, tzinfo=UTC), 2) == [
        "2011-12-30T10:00:00",
        "2011-12-30T22:00:00",
    ]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("* * *", "it has 3 fields, not five"),
        ("0 0 2 * * *", "it has 6 fields, not five"),
        ("@daily", "it has 1 fields, not five"),
        ("61 * * * *", "its minute cannot be"),
        ("* 24 * * *", "its hour cannot be"),
        ("* * 0 * *", "its day-of-month cannot be"),
        ("* * * 13 *", "its month cannot be"),
        ("* * * * 8", "its day-of-week cannot be"),
        ("0 0 30 2 *", "its day-of-month cannot be"),
        ("*/0 * * * *", "its minute cannot be"),
        ("", "it has 0 fields, not five"),
    ],
)
def test_a_bad_cron_expression_is_refused_with_the_field_and_an_example(spec, why):
    with pytest.raises(Invalid, match=r"such as '30 2 \* \* \*'") as refusal:
        parse(Timing.CRON, spec)
    assert why in str(refusal.value)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "America", "../etc/passwd", "CET+1", "\0"])
def test_a_zone_that_iana_does_not_know_is_refused(zone):
    with pytest.raises(Invalid, match="is not a time zone") as refusal:
        parse(Timing.CRON, "30 2 * * *", zone)
    assert refusal.value.faults[0].pointer == "/timezone"


@given(timing=st.sampled_from(Timing), text=st.text(max_size=300))
def test_any_text_is_a_spec_or_refused(timing, text):
    with suppress(Invalid):
        Timetable(spec=parse(timing, text), anchor=NOW).first(NOW)


@given(text=st.text(alphabet="RP0123456789YMWDTHS:-/.Z+,*LW# ", max_size=40))
def test_any_text_of_the_right_letters_is_a_spec_or_refused(text):
    for timing in Timing:
        with suppress(Invalid):
            Timetable(spec=parse(timing, text), anchor=NOW).first(NOW)


# -- bounds and looking back -------------------------------------------------------------------------------------------------


def test_the_bounds_are_included():
    bounded = table("cron", "0 * * * *", starts_at=NOW + timedelta(hours=1), ends_at=NOW + timedelta(hours=2))

    assert instants(bounded, NOW, 9) == ["2026-03-01T13:00:00", "2026-03-01T14:00:00"]


def test_nothing_fires_past_the_end_of_the_calendar():
    assert table("interval", "P9999D").first(datetime(9999, 12, 31, tzinfo=UTC)) is None
    assert table("cron", "0 0 * * *").after(datetime(9999, 12, 31, tzinfo=UTC)) is None


def test_looking_back_gives_the_newest_and_says_whether_there_were_more():
    hourly = table("cron", "0 * * * *")
    since = NOW - timedelta(hours=5)

    assert hourly.newest(since, NOW, 10) == ([since + timedelta(hours=each) for each in range(6)], False)
    assert hourly.newest(since, NOW, 2) == ([NOW - timedelta(hours=1), NOW], True)
    assert hourly.newest(NOW, NOW, 2) == ([NOW], False)


@pytest.mark.parametrize("spec", ["PT1S", "PT7M", "P30D"])
def test_looking_back_over_centuries_looks_at_few(spec):
    found, more = table("interval", f"1800-01-01T00:00:00Z/{spec}").newest(
        datetime(1800, 1, 1, tzinfo=UTC), NOW, 1000
    )

    assert len(found) == 1000
    assert more
    assert found[-1] <= NOW


# -- wall clocks -----------------------------------------------------------------------------------------------------------------


@given(
    wall=st.datetimes(datetime(1950, 1, 1), datetime(2037, 12, 31)),  # noqa: DTZ001
    zone=st.sampled_from(ZONES),
)
def test_a_wall_clock_shows_its_time_at_its_instant_or_has_just_skipped_it(wall, zone):
    here = ZoneInfo(zone)
    instant = instant_of(wall, here)
    shown = instant.astimezone(here).replace(tzinfo=None)

    if shown != wall.replace(fold=0):
        assert shown > wall
        assert (instant - timedelta(microseconds=1)).astimezone(here).replace(tzinfo=None) < wall
