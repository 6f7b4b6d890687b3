"""The OpenAPI document that Cog's command line writes for a trainer of `trainers.py`, by the rules of its generator.

The parts that are the same for every trainer are taken from a document that the generator of Cog 0.22.0 has written.
"""

import inspect
import json
import os
import typing
from typing import Any, Optional, get_args, get_origin

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "golden", "files.json")
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", Any: "object"}
RULES = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength", "regex": "pattern"}


def title(name):
    return " ".join(part[:1].upper() + part[1:] for part in name.split("_"))


def without_option(annotation):
    if get_origin(annotation) is typing.Union:
        return next(it for it in get_args(annotation) if it is not type(None)), True
    return annotation, False


def type_schema(annotation):
    from cog import Path, Secret

    if get_origin(annotation) is list:
        return {"items": type_schema(get_args(annotation)[0]), "type": "array"}
    if annotation is Path:
        return {"format": "uri", "type": "string"}
    if annotation is Secret:
        return {"format": "password", "type": "string", "writeOnly": True, "x-cog-secret": True}
    return {"type": SCALARS[annotation]}


def plain(value):
    """A number as Go writes it: without `.0`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def inputs(parameters, schemas, component):
    properties, required = {}, []
    for order, (name, parameter) in enumerate(parameters):
        annotation, is_optional = without_option(parameter.annotation)
        info = parameter.default
        has_default = info.default is not None or is_optional
        if info.choices is not None:
            kind = SCALARS[annotation]
            schemas[name] = {"description": "An enumeration.", "enum": info.choices, "title": name, "type": kind}
            found = {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}
        else:
            found = {"title": title(name), **type_schema(annotation)}
        found["x-order"] = order
        if has_default:
            found["default"] = plain(info.default)
        else:
            required.append(name)
        if is_optional:
            found["nullable"] = True
        if info.description is not None:
            found["description"] = info.description
        if info.deprecated:
            found["deprecated"] = True
        found.update({ours: plain(getattr(info, theirs)) for theirs, ours in RULES.items() if getattr(info, theirs) is not None})
        properties[name] = found
    schemas[component] = {"properties": properties, "title": component, "type": "object", **({"required": required} if required else {})}


def output(annotation):
    from cog import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        properties, required = {}, []
        for name, field in typing.get_type_hints(annotation).items():
            field, is_optional = without_option(field)
            properties[name] = {"title": title(name), **type_schema(field), **({"nullable": True} if is_optional else {})}
            if not is_optional:
                required.append(name)
        return {"properties": properties, "required": required, "title": "Output", "type": "object"}
    return {"title": "Output", **type_schema(annotation)}


def document(function):
    """The document of a trainer: a function, or the method `train` of a class."""
    with open(GOLDEN) as file:
        found = json.load(file)
    schemas = found["components"]["schemas"]
    signature = inspect.signature(function)
    parameters = [it for it in signature.parameters.items() if it[0] != "self"]
    inputs(parameters, schemas, "TrainingInput")
    schemas["TrainingOutput"] = output(signature.return_annotation)
    return found


if __name__ == "__main__":
    import sys

    import trainers

    named = getattr(trainers, sys.argv[1])
    print(json.dumps(document(named.train if isinstance(named, type) else named)))
