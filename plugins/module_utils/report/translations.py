# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts of a report in its languages, and the defaults of its options."""

from __future__ import annotations

from typing import Dict, Tuple

LANGUAGES = ("en", "de")
REPORTS = ("activity", "access_review")
"""Kinds of reports; the first one is the default."""
FORMS = ("html", "md", "csv", "jsonl", "parquet")
BASELINE = "30d"
"""Default length of the baseline period before a time range."""
GAP_REASONS = ("retention", "before", "after", "future", "no_period", "unreadable")
"""Reasons for a missing part of a time range, in addition to the reasons recorded in an archive.

The last two are reasons of a comparison: no period before the range, and no readable time.
"""

# Each text in the order of LANGUAGES, with placeholders in braces.
_TEXTS: Dict[str, Tuple[str, str]] = {
    "audit_report": ("Audit report", "Audit-Bericht"),
    "all_kept": ("all available entries", "alle vorhandenen Einträge"),
    "oldest_kept": ("the oldest available entry", "vom ältesten vorhandenen Eintrag"),
    "since_cursor": ("all entries after the cursor", "alle Einträge nach dem Cursor"),
    "made": ("Made {time}", "Erstellt {time}"),
    "unnamed": ("unnamed project", "Projekt ohne Namen"),
    "from_to": ("{start} to {end}", "{start} bis {end}"),
    "now": ("now", "jetzt"),
    "times_in": ("Times in {zone}", "Zeiten in {zone}"),
    "nothing_known": (
        "No entries were found. Parts of this range are missing, see below.",
        "Es wurden keine Einträge gefunden. Teile dieses Zeitraums fehlen, siehe unten.",
    ),
    "nothing": ("Nothing was changed in this range.", "In diesem Zeitraum wurde nichts geändert."),
    "complete": ("Complete", "Vollständig"),
    "incomplete": ("Has gaps", "Hat Lücken"),
    "unfinished": ("Complete so far, not over yet", "Bisher vollständig, noch nicht zu Ende"),
    "to_coverage": ("to the coverage", "zur Abdeckung"),
    "jump": ("Jump to the table of all entries", "Zur Tabelle aller Einträge springen"),
    "figures": ("In figures", "In Zahlen"),
    "entries": ("Entries", "Einträge"),
    "entries_number": ("Entries: {n}", "Einträge: {n}"),
    "actors": ("Actors", "Akteure"),
    "networks": ("Networks", "Netze"),
    "actions": ("Actions", "Aktionen"),
    "activity": ("Activity", "Aktivität"),
    "activity_hint": (
        "Drag across the lower chart, or choose dates, to look closer; the table follows.",
        "Für mehr Einzelheiten über die untere Grafik ziehen oder Daten wählen; die Tabelle folgt.",
    ),
    "activity_label": (
        "Entries over time: {n} from {first} to {last}; the table below gives the numbers by day.",
        "Einträge im Lauf der Zeit: {n} vom {first} bis {last}; die Tabelle darunter nennt die Zahlen je Tag.",
    ),
    "by_day": ("Numbers by day", "Zahlen je Tag"),
    "day": ("Day", "Tag"),
    "from": ("From", "Von"),
    "to": ("To", "Bis"),
    "whole_range": ("Whole range", "Ganzer Zeitraum"),
    "rhythm": ("When work is done", "Wann gearbeitet wird"),
    "rhythm_label": (
        "Entries by weekday and hour; most on {day} at {hour}. The table below gives the numbers.",
        "Einträge nach Wochentag und Stunde; am meisten am {day} um {hour}. Die Tabelle darunter nennt die Zahlen.",
    ),
    "by_hour": ("Numbers by weekday and hour", "Zahlen nach Wochentag und Stunde"),
    "weekday": ("Weekday", "Wochentag"),
    "weekdays": ("Mon Tue Wed Thu Fri Sat Sun", "Mo Di Mi Do Fr Sa So"),
    "months": ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez"),
    "hour": ("Hour", "Stunde"),
    "who": ("Who", "Wer"),
    "what": ("What", "Was"),
    "action": ("Action", "Aktion"),
    "where": ("From where", "Von wo"),
    "when": ("When", "Wann"),
    "project": ("Project", "Projekt"),
    "subject": ("Subject", "Betrifft"),
    "of_addresses": ("{n} addresses", "{n} Adressen"),
    "more": ("{n} more", "{n} weitere"),
    "more_of": ("{n} more of {all}", "{n} weitere von {all}"),
    "share": ("{n} of {all}", "{n} von {all}"),
    "share_of": ("Share", "Anteil"),
    "none": ("None.", "Keine."),
    "first_seen": ("First seen", "Zum ersten Mal gesehen"),
    "first_seen_hint": (
        "Not seen in the time before this range.",
        "In der Zeit vor diesem Zeitraum nicht gesehen.",
    ),
    "no_baseline": (
        "There is no data from the time before this range, so new values are unknown.",
        "Aus der Zeit vor diesem Zeitraum gibt es keine Daten; was neu ist, ist deshalb unbekannt.",
    ),
    "tokens": ("Tokens", "Tokens"),
    "by": ("by {who}", "durch {who}"),
    "sensitive": ("Sensitive changes", "Heikle Änderungen"),
    "newest_of": ("the newest {n} of {all}", "die neusten {n} von {all}"),
    "coverage": ("Coverage", "Abdeckung"),
    "coverage_hint": (
        "Sources of this report, and parts of the time range that no source has.",
        "Quellen dieses Berichts, und Teile des Zeitraums, die in keiner Quelle sind.",
    ),
    "source": ("Source", "Quelle"),
    "archive": ("Archive", "Archiv"),
    "api": ("API", "API"),
    "api_kept": ("The provider keeps 90 days.", "Der Anbieter bewahrt 90 Tage auf."),
    "covered": ("Covers", "Deckt ab"),
    "head": ("Head of the chain", "Kopf der Kette"),
    "commit": ("commit {n}", "Commit {n}"),
    "gaps": ("Missing", "Fehlt"),
    "gap_retention": ("lost to the provider's retention", "durch die Aufbewahrungsfrist des Anbieters verloren"),
    "gap_before": ("before the archive's coverage", "vor der Abdeckung des Archivs"),
    "gap_after": ("not collected yet", "noch nicht gesammelt"),
    "gap_future": ("after this report was made", "nach der Erstellung dieses Berichts"),
    "gap_no_period": ("this range has no period before it", "dieser Zeitraum hat keinen Zeitraum davor"),
    "gap_unreadable": ("entries without a readable time", "Einträge ohne lesbare Zeit"),
    "access_review": ("Access review", "Überprüfung der Zugriffsrechte"),
    "people": ("People", "Personen"),
    "active_people": ("Active people", "Aktive Personen"),
    "active_tokens": ("Active tokens", "Aktive Tokens"),
    "people_hint": ("By e-mail address.", "Nach E-Mail-Adresse."),
    "tokens_hint": (
        "By UUID: a renamed token is still one token.",
        "Nach UUID: Ein umbenanntes Token bleibt ein Token.",
    ),
    "others": ("Other actors", "Andere Akteure"),
    "others_hint": (
        "The provider's system and staff need no decision. Find out who an unknown actor is.",
        "System und Personal des Anbieters brauchen keinen Entscheid. Wer ein unbekannter Akteur ist, ist abzuklären.",
    ),
    "nobody": ("None in either period.", "Keine in beiden Zeiträumen."),
    "jump_review": ("Jump to the people", "Zu den Personen springen"),
    "compared_with": ("Compared with {range}", "Verglichen mit {range}"),
    "comparison": ("Comparison", "Vergleich"),
    "comparison_hint": (
        "New: changes in this period, none in the period before. Dormant: none in this period, changes before. "
        "Known: changes in both. No data: the sources do not cover what the comparison needs.",
        "Neu: Änderungen in diesem Zeitraum, keine im Zeitraum davor. Inaktiv: keine in diesem Zeitraum, Änderungen "
        "davor. Bekannt: Änderungen in beiden. Keine Daten: Die Quellen decken nicht ab, was der Vergleich braucht.",
    ),
    "comparison_complete": ("The period before is covered.", "Der Zeitraum davor ist abgedeckt."),
    "comparison_missing": ("Data of the period before is missing:", "Daten des Zeitraums davor fehlen:"),
    "no_data": ("no data", "keine Daten"),
    "standing_new": ("new", "neu"),
    "standing_dormant": ("dormant", "inaktiv"),
    "standing_known": ("known", "bekannt"),
    "standing_no_data": ("no data", "keine Daten"),
    "new": ("New", "Neu"),
    "dormant": ("Dormant", "Inaktiv"),
    "at_least": ("at least {n}", "mindestens {n}"),
    "changes": ("Changes", "Änderungen"),
    "before": ("previous period: {n}", "Vorperiode: {n}"),
    "sensitive_of": ("sensitive: {n}", "heikel: {n}"),
    "kinds_of_changes": ("Kinds of changes, networks", "Arten von Änderungen, Netze"),
    "first_activity": ("First", "Erste"),
    "last_activity": ("Last", "Letzte"),
    "last_before": ("last before: {time}", "zuletzt davor: {time}"),
    "former_names": ("formerly {names}", "zuvor {names}"),
    "decision": ("Decision", "Entscheid"),
    "keep": ("Keep", "Behalten"),
    "remove": ("Remove", "Entfernen"),
    "no_decision": ("not needed", "nicht nötig"),
    "reviewer": ("Reviewer", "Geprüft durch"),
    "role": ("Role", "Funktion"),
    "date": ("Date", "Datum"),
    "signature": ("Signature", "Unterschrift"),
    "reviewed_by": ("Reviewed by", "Geprüft durch"),
    "approved_by": ("Approved by", "Freigegeben durch"),
    "sign_off": ("Sign-off", "Abschluss"),
    "fill_in": (
        "Fill in decisions, names and dates here and print the page, or print it and fill it in by hand. What is typed "
        "is not saved.",
        "Entscheide, Namen und Daten hier ausfüllen und die Seite drucken, oder drucken und von Hand ausfüllen. "
        "Eingaben werden nicht gespeichert.",
    ),
    "unlisted": ("With access, but not listed above", "Mit Zugang, aber oben nicht aufgeführt"),
    "unlisted_hint": (
        "The log records changes and has no list of members. People who have access but changed nothing in either "
        "period, and tokens that only read, are not in this review. Compare it with the members and API tokens in the "
        "control panel, and add here who is missing.",
        "Das Log hält Änderungen fest und kennt keine Liste der Mitglieder. Personen, die Zugang haben, aber in beiden "
        "Zeiträumen nichts änderten, und Tokens, die nur lesen, fehlen in dieser Überprüfung. Sie ist mit den "
        "Mitgliedern und API-Tokens im Control Panel zu vergleichen; wer fehlt, wird hier ergänzt.",
    ),
    "filtered": (
        "Only entries that match these options were counted; accounts without such entries count as inactive:",
        "Nur Einträge, die diesen Optionen entsprechen, wurden gezählt; wer keinen davon hat, gilt als inaktiv:",
    ),
    "accounts_of": (
        "{n} of {all} are listed; the CSV file has all.",
        "{n} von {all} sind aufgeführt; alle sind im CSV.",
    ),
    "all_entries": ("All entries", "Alle Einträge"),
    "newest_rows": (
        "The table has the newest {n} of {all} entries; a report as .parquet, .csv or .jsonl has all of them.",
        "Die Tabelle enthält die neusten {n} von {all} Einträgen; ein Bericht als .parquet, .csv oder .jsonl alle.",
    ),
    "search": ("Search", "Suchen"),
    "anybody": ("Anybody", "Alle"),
    "any": ("Any", "Alle"),
    "everything": ("Everything", "Alles"),
    "reset": ("Clear filters", "Filter aufheben"),
    "per_page": ("Entries per page", "Einträge pro Seite"),
    "shown": ("_START_ to _END_ of _TOTAL_", "_START_ bis _END_ von _TOTAL_"),
    "shown_of": ("(of _MAX_ in all)", "(von insgesamt _MAX_)"),
    "no_match": ("No entry matches.", "Kein Eintrag passt."),
    "first_page": ("First page", "Erste Seite"),
    "previous_page": ("Previous page", "Vorherige Seite"),
    "next_page": ("Next page", "Nächste Seite"),
    "last_page": ("Last page", "Letzte Seite"),
    "sort": (": sort by this column", ": nach dieser Spalte sortieren"),
    "sort_back": (": reverse the order", ": Reihenfolge umkehren"),
    "loading": ("Loading the entries ...", "Die Einträge werden geladen ..."),
    "no_script": (
        "The charts and the table of all entries need JavaScript; everything else works without it.",
        "Die Grafiken und die Tabelle aller Einträge brauchen JavaScript; alles andere ist auch ohne da.",
    ),
    "attention": ("Needs attention", "Braucht Aufmerksamkeit"),
    "no_alerts": ("No detection fired.", "Keine Erkennung hat angeschlagen."),
    "inactive": ("Detections that are off: {names}.", "Ausgeschaltete Erkennungen: {names}."),
    "needs": ("{name} (needs {option})", "{name} (braucht {option})"),
    "show_alert": ("Show it in the table", "In der Tabelle zeigen"),
    "severity": ("Severity", "Schweregrad"),
    "severity_critical": ("critical", "kritisch"),
    "severity_high": ("high", "hoch"),
    "severity_medium": ("medium", "mittel"),
    "severity_low": ("low", "tief"),
    "severity_info": ("info", "Info"),
    "alerts": ("Alerts", "Alarme"),
    "alert": ("Alert", "Alarm"),
    "any_alert": ("Any alert", "Jeder Alarm"),
    "contents": ("Contents", "Inhalt"),
    "show_day": ("Show all of this actor that day", "Alles dieses Akteurs an diesem Tag zeigen"),
    "not_recorded": ("not recorded", "nicht erfasst"),
    "show_alerts": ("Show all {n} in the table", "Alle {n} in der Tabelle zeigen"),
    "totals": ("Totals", "Summen"),
    "own": ("Own automation", "Eigene Automatisierung"),
    "by_people": ("By people", "Durch Personen"),
    "by_tokens": ("By tokens", "Durch Tokens"),
    "by_own": ("By own automation", "Durch eigene Automatisierung"),
    "by_staff": ("By the provider's staff", "Durch Personal des Anbieters"),
    "by_system": ("By the provider's system", "Durch das System des Anbieters"),
    "no_own": (
        "Set own_actors to tell your own automation apart from people.",
        "Mit own_actors wird die eigene Automatisierung von Personen getrennt.",
    ),
    "not_compared": ("No data to compare with {range}.", "Keine Daten für den Vergleich mit {range}."),
    "before_no_data": ("previous period: no data", "Vorperiode: keine Daten"),
    "projects": ("Projects", "Projekte"),
    "kind": ("Kind", "Art"),
    "network": ("Network", "Netz"),
    "resource": ("Resource", "Ressource"),
    "resources": ("Resources", "Ressourcen"),
    "partial_resources": (
        "Resources are counted in the {n} most frequent messages.",
        "Ressourcen sind in den {n} häufigsten Meldungen gezählt.",
    ),
    "search_hint": (
        'All words; "exact", -not, a|b, * for any text',
        'Alle Wörter; "genau", -nicht, a|b, * für beliebigen Text',
    ),
    "filters": ("Filters", "Filter"),
    "remove_filter": ("Remove the filter {name}", "Filter {name} entfernen"),
    "show_only": ("Show only these in the table", "Nur diese in der Tabelle zeigen"),
    "details": ("Details", "Einzelheiten"),
    "raw": ("Entry", "Eintrag"),
    "digest": ("SHA-256", "SHA-256"),
    "data_file": ("Archive file", "Archivdatei"),
    "copy": ("Copy for a ticket", "Für ein Ticket kopieren"),
    "copied": ("Copied.", "Kopiert."),
    "download": ("Download as CSV", "Als CSV herunterladen"),
    "print_bound": (
        "Only the first {n} rows of the table are printed; filter the table to print others.",
        "Gedruckt werden die ersten {n} Zeilen der Tabelle; für andere die Tabelle filtern.",
    ),
    "unlisted_rows": ("and {n} more", "und {n} weitere"),
    "missing": ("Missing", "Fehlt"),
    "iso_day": ("YYYY-MM-DD", "JJJJ-MM-TT"),
    "exact_time": ("Time", "Zeit"),
    "others_than_own": ("Not own automation", "Nicht eigene Automatisierung"),
    "who_and_what": ("Who, what, from where", "Wer, was, von wo"),
    "kind_user": ("person", "Person"),
    "kind_api_token": ("token", "Token"),
    "kind_system": ("system", "System"),
    "kind_admin": ("staff", "Anbieter"),
    "kind_unknown": ("unknown", "unbekannt"),
    "made_by": (
        "Made by auditops.cloudscale from the project's audit log. This page makes no requests and contains personal "
        "data.",
        "Erstellt von auditops.cloudscale aus dem Audit-Log des Projekts. Diese Seite ruft nichts ab und enthält "
        "Personendaten.",
    ),
}


_DAYS = ("%Y-%m-%d", "%d.%m.%Y")

# Titles of the built-in detections, and what to check after their alerts.
_DETECTIONS: Dict[str, str] = {
    "A resource was deleted": "Eine Ressource wurde gelöscht",
    "Ask the actor which change or ticket the deletion belongs to.": (
        "Nachfragen, zu welcher Änderung oder welchem Ticket die Löschung gehört."
    ),
    "Five resources were deleted within ten minutes": "Fünf Ressourcen wurden innert zehn Minuten gelöscht",
    "Revoke the token if nobody knows of the work; then restore from backups.": (
        "Das Token widerrufen, wenn niemand von der Arbeit weiss; dann aus Backups wiederherstellen."
    ),
    "The provider's staff changed something": "Personal des Anbieters hat etwas geändert",
    "Compare with your support requests; ask the provider if there is none.": (
        "Mit den Supportanfragen vergleichen; gibt es keine, beim Anbieter nachfragen."
    ),
    "A change came from an unknown network": "Eine Änderung kam aus einem unbekannten Netz",
    "Ask the actor where they worked; add the network to known_networks if it is yours.": (
        "Nachfragen, wo gearbeitet wurde; ein eigenes Netz in known_networks aufnehmen."
    ),
    "A change was made outside working hours": "Eine Änderung geschah ausserhalb der Arbeitszeit",
    "Ask the actor; add own automation to own_actors.": ("Nachfragen; eigene Automatisierung in own_actors aufnehmen."),
    "An actor appeared for the first time": "Ein Akteur erschien zum ersten Mal",
    "Compare with the people who joined your team.": "Mit den Personen vergleichen, die neu im Team sind.",
    "A token was used for the first time": "Ein Token wurde zum ersten Mal benutzt",
    "Find out who created the token, and for what.": "Abklären, wer das Token wofür erstellt hat.",
    "A network appeared for the first time": "Ein Netz erschien zum ersten Mal",
    "Ask the actor where they worked.": "Nachfragen, wo gearbeitet wurde.",
    "A token was used that had not been used for 30 days": "Ein Token wurde nach über 30 Tagen wieder benutzt",
    "Find out who uses the token; revoke it if nobody needs it.": (
        "Abklären, wer das Token benutzt; es widerrufen, wenn niemand es braucht."
    ),
    "Somebody's access was changed": "Ein Zugang wurde geändert",
    "Ask the actor which request the change belongs to.": "Nachfragen, zu welchem Antrag die Änderung gehört.",
    "A floating IP was moved": "Eine Floating IP wurde verschoben",
    "Ask the actor whether a failover or a migration was intended.": (
        "Nachfragen, ob ein Failover oder eine Migration beabsichtigt war."
    ),
    "A server was rebooted, or its console was opened": (
        "Ein Server wurde neu gestartet, oder seine Konsole wurde geöffnet"
    ),
    "Ask the actor for the reason.": "Nach dem Grund fragen.",
}


class Translator:
    """Returns the texts of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = LANGUAGES.index(language)
        self.day = _DAYS[self._place]
        """Format of a day in sentences. Tables use year, month, day, so that they can be sorted."""

    def __call__(self, name: str, /, **values: object) -> str:
        """A text with its placeholders filled in."""
        shown = {key: format_count(value) if isinstance(value, int) else value for key, value in values.items()}
        text = _TEXTS[name][self._place]
        return text.format(**shown) if shown else text

    def detection(self, text: str) -> str:
        """A text of a detection; texts of a site's own detections are not translated."""
        return _DETECTIONS.get(text, text) if self.language == "de" else text


def reason(why: str, say: Translator) -> str:
    """Text of a reason for a missing part, or the reason as recorded in an archive."""
    return say(f"gap_{why}") if why in GAP_REASONS else why


def format_count(value: int) -> str:
    """A whole number with narrow spaces between thousands, which is unambiguous in all languages."""
    return f"{value:,}".replace(",", "\u202f")
