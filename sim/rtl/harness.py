"""Writes the C++ source that ties one component's ports to the cycle loop of bench.h."""

from collections.abc import Callable

from celosia.sim.rtl.ports import Ports, StreamPort

__all__ = ["harness_source"]


def harness_source(ports: Ports, *, clocked: bool, resettable: bool, waves: str = "") -> str:
    """C++ source of the bench around a model verilated with prefix ``Vtop``.

    Parameters
    ----------
    ports : Ports
        Streams and plain ports of the component.
    clocked, resettable : bool
        Whether the module has a ``clk`` and a ``rst`` port.
    waves : {"", "vcd", "fst"}
        Waveform writer compiled in.
    """
    headers = ["Vtop.h", "ports.h"]
    defines = ""
    if waves:
        headers.insert(0, f"verilated_{waves}_c.h")
        defines = f"#define CELOSIA_WAVES Verilated{waves.capitalize()}C\n"
    sources = ", ".join(str(port.source).lower() for port in ports.streams)
    members = [
        f"static constexpr unsigned STREAMS = {len(ports.streams)};",
        f"static constexpr bool SOURCE[STREAMS + 1] = {{{sources}}};",
        *_function("void clock(Vtop& top, bool level)", ["top.clk = level;"] if clocked else []),
        *_function("void reset(Vtop& top, bool level)", ["top.rst = level;"] if resettable else []),
        *_function("void idle(Vtop& top)", _each(_idle, ports)),
        *_function(
            "CELOSIA_INLINE void drive(Vtop& top, celosia::Stream* streams, uint64_t cycle)", _each(_drive, ports)
        ),
        *_function(
            "CELOSIA_INLINE bool capture(Vtop& top, celosia::Stream* streams, celosia::Pending& pending)",
            [*_each(_capture, ports), "return true;"],
        ),
        *_switch("void set(Vtop& top, int32_t signal, const uint32_t* words)", _set_cases(ports), "return;"),
        *_switch("void get(Vtop& top, int32_t signal, uint32_t* words)", _get_cases(ports), "return;"),
        *_switch("const CData* watch(Vtop& top, int32_t signal)", _watch_cases(ports), "return nullptr;"),
    ]
    includes = "".join(f'#include "{header}"\n' for header in headers)
    body = "\n".join(f"    {line}" for line in members)
    return f'{includes}{defines}\nstruct Design {{\n{body}\n}};\n\n#include "bench.h"\n'


def _function(signature: str, body: list[str]) -> list[str]:
    return [f"static {signature} {{", *(f"    {line}" for line in body), "}"]


def _switch(signature: str, cases: list[str], otherwise: str) -> list[str]:
    return _function(signature, ["switch (signal) {", *cases, f"default: {otherwise}", "}"])


def _each(write: Callable[[str, StreamPort], list[str]], ports: Ports) -> list[str]:
    return [line for index, port in enumerate(ports.streams) for line in write(f"streams[{index}]", port)]


def _member(name: str) -> str:
    """Member of the verilated model that is the port: Verilator encodes the second of two underscores."""
    return f"top.{name.replace('__', '___05F')}"


def _idle(_stream: str, port: StreamPort) -> list[str]:
    if port.source:
        return [f"{_member(f'{port.name}__valid')} = 0;"] if port.has_valid else []
    return [f"{_member(f'{port.name}__ready')} = 0;"] if port.has_ready else []


def _drive(stream: str, port: StreamPort) -> list[str]:
    if not port.source:
        if not port.has_ready:
            return [f"{stream}.ready = 1;"]
        return [f"{_member(f'{port.name}__ready')} = {stream}.ready = {stream}.open(cycle);"]
    payload = _member(f"{port.name}__payload")
    begin = f"{stream}.position < {stream}.count && {stream}.open(cycle)"
    lines = [
        f"{stream}.valid = {stream}.held || ({begin});",
        f"if ({stream}.valid && !{stream}.held)",
        f"    celosia::put({payload}, {stream}.data + {stream}.position * {port.words}, {port.width});",
    ]
    if port.has_valid:
        lines.append(f"{_member(f'{port.name}__valid')} = {stream}.valid;")
    return lines


def _capture(stream: str, port: StreamPort) -> list[str]:
    if port.source:
        ready = _member(f"{port.name}__ready") if port.has_ready else "1"
        return [
            f"{stream}.ready = {ready};",
            f"{stream}.held = {stream}.valid && !{stream}.ready;",
            f"if ({stream}.valid && {stream}.ready && ++{stream}.position == {stream}.count) --pending.unsent;",
        ]
    valid = _member(f"{port.name}__valid") if port.has_valid else "1"
    return [
        f"{stream}.valid = {valid};",
        f"if ({stream}.valid && {stream}.ready) {{",
        f"    uint32_t* words = {stream}.slot({port.words});",
        "    if (!words) return false;",
        f"    celosia::take({_member(f'{port.name}__payload')}, words);",
        f"    if (++{stream}.count == {stream}.target) --pending.unreceived;",
        "}",
    ]


def _set_cases(ports: Ports) -> list[str]:
    return [
        f"case {index}: return celosia::put({_member(port.name)}, words, {port.width});"
        for index, port in enumerate(ports.signals)
        if port.driven
    ]


def _get_cases(ports: Ports) -> list[str]:
    return [
        f"case {index}: return celosia::take({_member(port.name)}, words);" for index, port in enumerate(ports.signals)
    ]


def _watch_cases(ports: Ports) -> list[str]:
    return [
        f"case {index}: return &{_member(port.name)};" for index, port in enumerate(ports.signals) if port.width == 1
    ]
