"""Whether a bundle may run on this device, by what its manifest demands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.bundle.manifest import Manifest
from edge_agent.versions import version_key


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What this device is: profile name, machine word (``uname -m``), RAM, runtime versions by name, the agent's version.

    A ``ram_mib`` of 0 is unknown and not compared.
    """

    profile: str
    arch: str
    ram_mib: int
    agent_version: str
    runtimes: Mapping[str, str] = field(default_factory=dict)


def unfit(manifest: Manifest, facts: DeviceFacts) -> tuple[str, ...]:
    """Every reason why the bundle may not run here; empty when it may."""
    needs = manifest.requires
    reasons = []
    if needs.profiles and facts.profile not in needs.profiles:
        reasons.append(f"made for {', '.join(needs.profiles)}; this device is {facts.profile}")
    if needs.arch and facts.arch not in needs.arch:
        reasons.append(f"made for {', '.join(needs.arch)} processors; this one is {facts.arch}")
    if facts.ram_mib and needs.ram_mib > facts.ram_mib:
        reasons.append(f"needs {needs.ram_mib} MiB of RAM; this device has {facts.ram_mib}")
    if needs.agent and version_key(facts.agent_version) < version_key(needs.agent):
        reasons.append(f"needs agent {needs.agent} or newer; this is {facts.agent_version}")
    return (*reasons, *_runtime(manifest, facts))


def _runtime(manifest: Manifest, facts: DeviceFacts) -> tuple[str, ...]:
    wanted = manifest.runtime
    installed = facts.runtimes.get(wanted.name, "")
    if not installed:
        return (f"needs the {wanted.name} runtime, which is not installed: pip install 'edge-runtime[{wanted.name}]'",)
    if wanted.minimum and version_key(installed) < version_key(wanted.minimum):
        return (f"needs {wanted.name} {wanted.minimum} or newer; {installed} is installed",)
    if any(version_key(installed) == version_key(bad) for bad in wanted.excluded):
        return (f"does not work with {wanted.name} {installed}, which is installed",)
    return ()
