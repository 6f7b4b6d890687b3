"""The differences from Cog that are meant: the names of the list in `docs/http-api.md`, each with a test of a difference.

A difference is where it is (scenario, case, path), Cog's value, ours, and both whole records.
"""

import re
from collections import namedtuple

Difference = namedtuple("Difference", "scenario case path cog ours cog_record our_record")
ABSENT = "(absent)"
PREFIXES = ("Prediction failed: Training failed: ", "Prediction failed: Prediction failed: ", "Input validation error: ", "Failed to upload output: ")


def body(record):
    found = record.get("body", record) if isinstance(record, dict) else None
    return found if isinstance(found, dict) else {}


def status(record):
    return record.get("status") if isinstance(record, dict) else None


def details(record):
    return str(body(record).get("detail", ""))


def ended(record):
    return body(record).get("status")


def is_text(*values):
    return all(isinstance(it, str) for it in values)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same_prefix(one, other):
    return any(one.startswith(it) and other.startswith(it) for it in PREFIXES)


def exception_types(it):
    return it.path.endswith("error") and is_text(it.cog, it.ours) and re.sub(r": \w+(Error|Exception): ", ": ", it.cog) == it.ours


def causes(it):
    is_error = it.path.endswith("error") and is_text(it.cog, it.ours)
    return is_error and (same_prefix(it.cog, it.ours) or it.cog.startswith(it.ours + " Add @cog.streaming"))


def logs_of_failures(it):
    return it.path.endswith("/logs") and it.cog == "" and ended(it.cog_record) == ended(it.our_record) and ended(it.our_record) in ("failed", "canceled")


def null(it):
    return "null is not of type" in details(it.cog_record) and ended(it.our_record) == "succeeded"


def whole_numbers(it):
    return "/output" in it.path and is_number(it.cog) and is_number(it.ours) and float(it.cog) == float(it.ours) and type(it.cog) is not type(it.ours)


def rounded(it):
    return it.case == "number: 0.09090909090909091" or it.case.startswith("number: 123456789.1") if it.path == "/body/output" else False


def range_of_integers(it):
    return re.search(r"is greater than the maximum of 9223372036854775807", details(it.our_record)) is not None


def secrets(it):
    return "**********" in str(it.ours) and "**********" not in str(it.cog)


def unknown_inputs(it):
    return it.path.endswith("/logs") and is_text(it.ours) and it.ours.startswith("warning: no such input, and not used: ") and it.ours.endswith(it.cog)


def ids(it):
    return status(it.cog_record) == 200 and "an id is 1 to 128 of the characters" in details(it.our_record)


def further_routes(it):
    if it.path == "/headers/allow" and it.ours != ABSENT:
        return it.ours == "GET,HEAD," + it.cog
    return it.case.startswith(("GET /trainings", "HEAD /trainings")) and status(it.cog_record) == 405


def prefer(it):
    return it.case.startswith("prefer `") and (status(it.cog_record), status(it.our_record)) == (200, 202)


def apart(it):
    return status(it.our_record) == 404 and re.match("this server (trains|predicts) and does not", str(body(it.our_record).get("error"))) is not None


def about_itself(it):
    return "/version/" in it.path and it.ours == ABSENT or it.path == "/body/setup/logs"


def trained_ids(it):
    return it.scenario == "trainings" and it.case.startswith("again: ") and it.case not in ("again: first", "again: the same")


def setup_again(it):
    return it.path.endswith("/logs") and it.ours == "setting up\n" + it.cog


def signals(it):
    return it.scenario == "lifecycle" and it.case.startswith(("interrupted", "terminated"))


def local_files(it):
    return it.scenario == "local"


def missing_files(it):
    return "missing" in it.case and it.scenario in ("outputs", "uploads") and (ended(it.our_record) == "failed" or it.case.endswith(": uploaded"))


def folders_sent(it):
    found = body(it.cog_record)
    is_lost = found.get("output", ABSENT) is None or "IsADirectoryError" in str(found.get("error"))
    return it.case.startswith("folder") and (is_lost or it.case.endswith(": uploaded"))


def media_types(it):
    return it.case.startswith("fields: ") and it.path.endswith("weights") and is_text(it.cog, it.ours) and it.cog.split(";")[1] == it.ours.split(";")[1]


def fields_uploaded(it):
    return it.scenario == "uploads" and it.case.startswith("fields, ")


def uploads_in_order(it):
    if it.scenario != "uploads" or not it.case.startswith("files_out, "):
        return False
    is_shuffled = isinstance(it.cog, list) and isinstance(it.ours, list) and sorted(it.cog) == sorted(it.ours)
    return is_shuffled or "refuse" in it.case and it.case.endswith(": uploaded")


def input_files(it):
    return it.scenario == "files" and it.case in ("data bad", "local missing", "folder", "empty", "ftp", "file address", "more: local and address")


KNOWN = {
    "Causes without exception types": exception_types,
    "Causes in other words": causes,
    "Logs of trainings that did not succeed": logs_of_failures,
    "Null for an optional input": null,
    "Whole numbers have their input's type": whole_numbers,
    "Integers have 64 bits": range_of_integers,
    "Floats keep their bits": rounded,
    "Secrets are masked": secrets,
    "Unknown inputs are named": unknown_inputs,
    "Ids have an alphabet": ids,
    "Further routes": further_routes,
    "Preferences": prefer,
    "Trainings are no predictions": apart,
    "The server about itself": about_itself,
    "An id that was trained": trained_ids,
    "Setup after a panic": setup_again,
    "Signals": signals,
    "Files of the server": local_files,
    "Files that cannot be read": input_files,
    "Files that were not written": missing_files,
    "Folders are sent": folders_sent,
    "One table of media types": media_types,
    "Files in an object are uploaded": fields_uploaded,
    "Uploads in order": uploads_in_order,
}
