"""A Vivado project for boards with AMD chips: Verilog, constraints, and a script that builds the bitstream."""

from celosia.boards.board import Board
from celosia.boards.clocks import MHZ, ClockPlan
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.table import find_link
from celosia.hw.top import LinkedAccelerator
from celosia.hw.verilog import write_verilog

_TOP = """\
// {what}
// Clock {mhz:g} MHz of {input_mhz:g} MHz, serial port {baud} baud.

module top (
  input  wire clock_pin,
  input  wire reset_n_pin,
  input  wire rx_pin,
  output wire tx_pin,
  output wire alive_pin
);

  // {input_mhz:g} MHz / {reference} x {feedback} / {output}
  wire compared, unbuffered, clk, locked;
  PLLE2_BASE #(
    .CLKIN1_PERIOD({period:.3f}),
    .DIVCLK_DIVIDE({reference}),
    .CLKFBOUT_MULT({feedback}),
    .CLKOUT0_DIVIDE({output})
  ) pll (
    .CLKIN1(clock_pin),
    .CLKFBIN(compared),
    .CLKFBOUT(compared),
    .CLKOUT0(unbuffered),
    .CLKOUT1(), .CLKOUT2(), .CLKOUT3(), .CLKOUT4(), .CLKOUT5(),
    .LOCKED(locked),
    .RST(1'b0),
    .PWRDWN(1'b0)
  );
  BUFG global_buffer (.I(unbuffered), .O(clk));

  // In reset until the clock is steady and the button is released.
  wire good = locked & reset_n_pin;
  (* ASYNC_REG = "TRUE" *) reg [1:0] steady = 2'b00;
  reg [9:0] timer = 10'd0;
  reg rst = 1'b1;
  always @(posedge clk) begin
    steady <= {{steady[0], good}};
    if (!steady[1]) timer <= 10'd0;
    else if (!(&timer)) timer <= timer + 10'd1;
    rst <= !(&timer);
  end

  reg [25:0] heartbeat = 26'd0;
  always @(posedge clk) heartbeat <= heartbeat + 26'd1;
  assign alive_pin = heartbeat[25];

  linked_accelerator accelerator (.clk(clk), .rst(rst), .rx(rx_pin), .tx(tx_pin));

endmodule
"""

_TCL = """\
# vivado -mode batch -source build.tcl
create_project -in_memory -part {part}
read_verilog [list top.v linked_accelerator.v]
read_xdc top.xdc
synth_design -top top -part {part}
opt_design
place_design
route_design
report_utilization -file utilization.rpt
report_timing_summary -file timing.rpt
write_bitstream -force {name}.bit
"""


def vivado_project(board: Board, config: AcceleratorConfig, plan: ClockPlan, baud: int) -> dict[str, str]:
    """Return the files of a project; Vivado itself is not run.

    Parameters
    ----------
    board : Board
        With `pins`.
    config : AcceleratorConfig
    plan : ClockPlan
        Of the accelerator's clock; it uses the PLL.
    baud : int
        Symbols per second of the serial port.

    Returns
    -------
    dict of str to str
        Name → text.

    Raises
    ------
    ValueError
        The clock is the board's own, or the serial port cannot be that fast.
    """
    if not plan.uses_pll:
        raise ValueError(f"clock {plan.mhz:g} MHz is the board's own; give a lower --clock for a Vivado project.")
    link = find_link("uart").build(config, clock_hz=float(plan.output_hz), baud=baud)
    design = write_verilog(LinkedAccelerator(config, link), "linked_accelerator")
    top = _TOP.format(
        what=f"Celosia accelerator with engine {config.engine_name}, config {config.hash}, on {board.name}.",
        mhz=plan.mhz,
        input_mhz=plan.input_hz / MHZ,
        baud=baud,
        period=1e9 / plan.input_hz,
        reference=plan.reference,
        feedback=plan.feedback,
        output=plan.output,
    )
    places = [
        f"set_property -dict {{PACKAGE_PIN {pin} IOSTANDARD LVCMOS33}} [get_ports {name}_pin]"
        for name, pin in board.pins.items()
    ]
    constraints = [
        *places,
        f"create_clock -name clock_pin -period {1e9 / plan.input_hz:.3f} [get_ports clock_pin]",
        "set_false_path -from [get_ports {reset_n_pin rx_pin}]",
        "set_false_path -to [get_ports {tx_pin alive_pin}]",
    ]
    return {
        "linked_accelerator.v": design,
        "top.v": top,
        "top.xdc": "\n".join(constraints) + "\n",
        "build.tcl": _TCL.format(part=board.device.part, name=board.name),
    }
