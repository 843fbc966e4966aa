
// Transfers on AXI4-Lite: by turns, address and data of a write come together, or one of them some cycles later.
module axi_lite_master (
  input wire clk,
  input wire rst,
  input wire start,
  input wire write,
  output wire done,
  output wire error,
  output wire awvalid,
  input wire awready,
  output wire wvalid,
  input wire wready,
  input wire [1:0] bresp,
  input wire bvalid,
  output wire bready,
  output wire arvalid,
  input wire arready,
  input wire [1:0] rresp,
  input wire rvalid,
  output wire rready
);
  reg [1:0] turn = 2'd0;
  reg [2:0] wait_response = 3'd0;
  reg address_done = 1'b0;
  reg data_done = 1'b0;
  reg [1:0] age = 2'd0;  // cycles since start, up to 3
  wire late = age == 2'd3;
  wire take_response = wait_response == 3'd0;
  assign awvalid = start && write && !address_done && (turn != 2'd2 || late);
  assign wvalid = start && write && !data_done && (turn != 2'd1 || late);
  assign arvalid = start && !write && !address_done;
  assign bready = start && write && take_response;
  assign rready = start && !write && take_response;
  assign done = (bvalid && bready) || (rvalid && rready);
  assign error = write ? bresp != 2'd0 : rresp != 2'd0;
  always @(posedge clk) begin
    wait_response <= wait_response == 3'd0 ? {1'b0, turn} : wait_response - 3'd1;
    if ((awvalid && awready) || (arvalid && arready)) address_done <= 1'b1;
    if (wvalid && wready) data_done <= 1'b1;
    age <= done || !start ? 2'd0 : late ? age : age + 2'd1;
    if (done || rst) begin
      address_done <= 1'b0;
      data_done <= 1'b0;
      turn <= turn == 2'd2 ? 2'd0 : turn + 2'd1;
    end
  end
endmodule
