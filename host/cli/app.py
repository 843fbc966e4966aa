"""The commands put together; errors become one sentence and an exit code."""

import os
import sys
from typing import Annotated, Final

import typer

import celosia
from celosia.host.cli.build import build
from celosia.host.cli.compress import compress_model
from celosia.host.cli.conformance import conformance
from celosia.host.cli.demo import demo
from celosia.host.cli.device import show_device
from celosia.host.cli.generate import generate
from celosia.host.cli.listing import list_engines
from celosia.host.cli.options import EXIT_CODES, epilog
from celosia.host.cli.output import note
from celosia.host.cli.program import boards, program
from celosia.host.cli.run import run_model
from celosia.host.cli.schedule import schedule_model
from celosia.host.cli.simulate import simulate
from celosia.host.cli.sweep import sweep

BAD_INPUT, INTERRUPTED = 2, 130
TRACEBACK: Final = "CELOSIA_TRACEBACK"  # environment: show where an error comes from

app = typer.Typer(
    name="celosia",
    help="Neural networks to FPGA accelerators, cycle-exact, in Python.",
    epilog=f"{EXIT_CODES} An error is one sentence; {TRACEBACK}=1 shows where it comes from.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(
    "demo", epilog=epilog("celosia demo", "celosia demo --rows 8 --cols 8 --json", "celosia demo --device /dev/ttyUSB0")
)(demo)
app.command(
    "run",
    epilog=epilog(
        "celosia run mlp.npz --input images.npy --labels labels.npy",
        "celosia run mlp.onnx --input x.npy --calibration typical.npy --rows 8",
        "celosia run mlp.npz --input images.npy --golden-only --json",
        "celosia run mlp.npz --input images.npy --device /dev/ttyUSB0",
    ),
)(run_model)
app.command(
    "compress",
    epilog=epilog(
        "celosia compress mlp.npz --calibration train.npy --density 0.1 --output small.npz",
        "celosia compress mlp.npz --calibration train.npy --quality 1.5 -i x.npy --labels y.npy -o small.npz",
    ),
)(compress_model)
app.command(
    "schedule",
    epilog=epilog("celosia schedule small.npz --input images.npy --set pes=16 --set group=4"),
)(schedule_model)
app.command(
    "simulate",
    epilog=epilog(
        "celosia simulate --m 64 --k 256 --n 64",
        "celosia simulate --m 64 --k 100 --n 10 --stall 0.2 --seed 7",
        "celosia simulate --m 16 --k 16 --n 16 --trace gemm.vcd --cycles 0:200",
        "celosia simulate --engine sparse --m 1 --k 1024 --n 1024 --density 0.1 --active 0.35",
        "celosia simulate --rows 8 --cols 8 --pty --pty-link board",
        "celosia simulate --config config.json --tcp 7000",
    ),
)(simulate)
app.command(
    "conformance",
    epilog=epilog("celosia conformance vectors", "celosia conformance models --rows 8 --cols 8 --inputs 1 --json"),
)(conformance)
app.command(
    "generate",
    epilog=epilog(
        "celosia generate systolic --output build/accelerator",
        "celosia generate systolic --link axi-stream -o build/axi",
        "celosia generate --model mlp.onnx --input x.npy --link uart --clock 25 --baud 1000000 -o build/mlp",
        "celosia generate systolic --set weight_depth=4096 --part core -o build/core",
    ),
)(generate)
app.command(
    "device",
    epilog=epilog(
        "celosia device /dev/ttyUSB0",
        "celosia device /dev/ttyUSB0@3000000 --test 1000000",
        "celosia device tcp:localhost:7000 --json",
    ),
)(show_device)
app.command(
    "build",
    epilog=epilog(
        "celosia build ulx3s-85f",
        "celosia build ulx3s-85f --engine binary --clock 60",
        "celosia build ulx3s-85f mlp.npz --calibration typical.npy -o build/mlp",
        "celosia build - < build/sweep/best.json",
    ),
)(build)
app.command(
    "sweep",
    epilog=epilog(
        "celosia sweep resnet8.tflite --board ulx3s-85f --vary rows=2..12 --vary cols=2..12 -o build/sweep",
        "celosia sweep mlp.npz --vary rows=4..64*2 --vary cols=4..64*2 --objective cycles --objective pes",
        "celosia sweep net.tflite --board ulx3s-85f --vary rows=4..8 --vary cols=4..8 --best | celosia build -",
        "celosia sweep alexnet.csv --set rows=32 --set cols=32 --compute-report COMPUTE_REPORT.csv",
    ),
)(sweep)
app.command("program", epilog=epilog("celosia program ulx3s-85f", "celosia program ulx3s-85f build/mlp"))(program)
app.command("boards", epilog=epilog("celosia boards", "celosia boards --json"))(boards)
app.command("list", epilog=epilog("celosia list", "celosia list --json"))(list_engines)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"celosia {celosia.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (its callback prints)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def execute(arguments: list[str]) -> int:
    """Run a command and return its exit code: 0, 1 if something differs, or one of those above."""
    try:
        code = int(app(arguments, prog_name="celosia", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        sentence = _sentence(error)
        if not sentence or os.environ.get(TRACEBACK):
            raise
        note(sentence)
        return BAD_INPUT
    if code == INTERRUPTED:  # which typer, too, turns Ctrl-C into
        note("interrupted.")
    return code


def _sentence(error: Exception) -> str:
    """Return what to tell about an error that a user can do something about; empty for any other."""
    told = getattr(error, "format_message", None)
    if told is not None:  # a wrong option or argument
        context = getattr(error, "ctx", None)
        where = f" '{context.command_path} --help' shows what is right." if context else ""
        return told().rstrip(".") + "." + where
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}."
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; make it smaller."
    if isinstance(error, ValueError) or _is_simulation_error(error):
        return str(error)
    return ""


def _is_simulation_error(error: Exception) -> bool:
    module = sys.modules.get("celosia.sim.rtl.errors")  # not imported unless it could have been raised
    return module is not None and isinstance(error, module.SimulationError)
