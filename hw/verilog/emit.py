"""RTLIL text of a design, as Amaranth's own converter writes it, but for memories' contents and ports' attributes.

Amaranth spells out every bit of every memory, which for a large memory of zeros takes longer than all the rest.
"""

from typing import Any

from amaranth.back import rtlil  # type: ignore  # the stubs leave out amaranth.back
from amaranth.hdl import _ir, _nir


class _Emitter(rtlil.ModuleEmitter):
    def emit_port_wires(self) -> None:
        """Write the ports, each with the attributes of its own signal, also where two of them are one net."""
        super().emit_port_wires()
        glued = {name for signal in self.module.signal_names for name in signal.attrs}
        for signal, name in self.module.signal_names.items():
            if name in self.module.ports:
                wire, _value = self.sigport_wires[name]
                kept = {key: value for key, value in wire.attributes.items() if key not in glued}
                wire.attributes = kept | signal.attrs

    def emit_memory(self, cell_idx: int, cell: Any) -> None:
        """Write the contents of a memory: one word where all words are the same, else every word."""
        rows = cell.init[:1] if len(set(cell.init)) == 1 else cell.init
        bits = (_nir.Net.from_const((row >> bit) & 1) for row in rows for bit in range(cell.width))
        self.builder.cell(
            "$meminit_v2",
            ports={
                "ADDR": self.sigspec(),
                "DATA": self.sigspec(bits),
                "EN": self.sigspec(_nir.Value.ones(cell.width)),
            },
            parameters={
                "MEMID": self.memories[cell_idx].memid,
                "ABITS": 0,
                "WIDTH": cell.width,
                "WORDS": cell.depth,
                "PRIORITY": 0,
            },
        )


def emit_rtlil(design: Any, name: str) -> str:
    """Return the RTLIL of a prepared design; where all words of a memory are the same, its DATA is one word."""
    netlist = _ir.build_netlist(design, ports=(), name=name)
    empty = rtlil.EmptyModuleChecker(netlist)
    builder = rtlil.Design(emit_src=False)
    names: Any = rtlil._ast.SignalDict()
    for index, module in enumerate(netlist.modules):
        if not empty.is_empty(index):
            built = builder.module(".".join(module.name), src_loc=module.src_loc)
            _Emitter(built, netlist, module, names, empty_checker=empty).emit()
    return str(builder)
