"""The table of networks is complete and consistent with the networks."""

import importlib
import json
from dataclasses import fields

import pytest
import torch

from magicdance_core.checkpoints import ROLES, Components, save_folder


def test_every_network_of_a_model_has_a_role():
    others = {"scheduler", "context", "defaults"}
    assert {field.name for field in fields(Components)} - others == set(ROLES)
    assert [role.name for role in ROLES.values()] == list(ROLES)


def test_roles_do_not_contradict_each_other():
    rows = list(ROLES.values())
    for values in ([role.folder for role in rows], [role.title for role in rows]):
        assert len(set(values)) == len(rows)
    marks = [mark for role in rows for mark in (role.prefix, *role.also)]
    assert not [(one, other) for one in marks for other in marks if one is not other and one.startswith(other)]
    assert {role.name for role in rows if role.control} == {"appearance", "pose", "motion"}
    assert all(ROLES[role.stored_as] for role in rows if role.stored_as)


PUBLISHED = [role for role in ROLES.values() if role.required]


@pytest.mark.parametrize("role", PUBLISHED, ids=lambda role: role.name)
def test_roles_describe_their_networks(role, published, published_files):
    network = published.networks()[role.name]
    built = role.build(network.config.to_dict() if role.library == "transformers" else network.config)
    assert type(built) is type(network) and built.state_dict().keys() == network.state_dict().keys()
    assert all(weight.is_meta for weight in built.parameters())
    assert type(network).__module__.startswith(role.library)
    state = torch.load(published_files[".th"], mmap=True, weights_only=True)
    shapes = {
        name.removeprefix(role.prefix): tuple(t.shape) for name, t in state.items() if name.startswith(role.prefix)
    }
    assert set(role.names(network).values()) <= set(shapes)
    config = role.config(shapes)
    assert role.build(config).state_dict().keys() == network.state_dict().keys()


def test_folder_index_names_library_and_class(published, tmp_path):
    save_folder(tmp_path / "model", published)
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    for role in PUBLISHED:
        library, kind = index[role.folder]
        module = importlib.import_module("magicdance_core.models" if library == "magicdance_core" else library)
        assert isinstance(published.networks()[role.name], getattr(module, kind))
        assert (tmp_path / "model" / role.folder / f"{role.weights}.safetensors").is_file()
