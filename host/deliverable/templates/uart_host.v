
// Host's end of a serial line: eight data bits, no parity, one stop bit.
module uart_host #(
  parameter CLOCK_HZ = 1,
  parameter BAUD = 1
) (
  input wire clk,
  input wire rst,
  output wire tx,
  input wire rx,
  input wire [7:0] i_data,
  input wire i_valid,
  output wire i_ready,
  output reg [7:0] o_data,
  output reg o_valid,
  input wire o_ready
);
  // In each cycle, BAUD is added to a phase; a bit ends when it reaches CLOCK_HZ.
  integer tx_phase = 0;
  integer rx_phase = 0;
  reg [9:0] tx_bits = 10'h3ff;
  reg [3:0] tx_left = 4'd0;
  wire tx_end = tx_phase + BAUD >= CLOCK_HZ;
  assign tx = tx_bits[0];
  assign i_ready = !rst && tx_left == 4'd0;
  always @(posedge clk) begin
    tx_phase <= tx_left == 4'd0 ? 0 : tx_end ? tx_phase + BAUD - CLOCK_HZ : tx_phase + BAUD;
    if (i_valid && i_ready) begin
      tx_bits <= {1'b1, i_data, 1'b0};
      tx_left <= 4'd10;
    end else if (tx_left != 4'd0 && tx_end) begin
      tx_bits <= {1'b1, tx_bits[9:1]};
      tx_left <= tx_left - 4'd1;
    end
  end

  reg [3:0] rx_left = 4'd0;  // samples: start bit, data, stop bit
  wire rx_sample = rx_phase + BAUD >= CLOCK_HZ;
  initial o_valid = 1'b0;
  always @(posedge clk) begin
    if (o_ready) o_valid <= 1'b0;
    if (rx_left == 4'd0) begin
      rx_phase <= CLOCK_HZ / 2;  // half a bit after its edge
      if (!rst && !rx) rx_left <= 4'd10;
    end else begin
      rx_phase <= rx_sample ? rx_phase + BAUD - CLOCK_HZ : rx_phase + BAUD;
      if (rx_sample) begin
        rx_left <= rx_left - 4'd1;
        if (rx_left > 4'd1) o_data <= {rx, o_data[7:1]};
        else o_valid <= rx;
      end
    end
  end
endmodule
