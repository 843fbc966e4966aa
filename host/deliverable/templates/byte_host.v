
// Host's end of a link that carries bytes: packets between flags, with what looks like a flag escaped.
module byte_host (
  input wire clk,
  input wire rst,
  input wire [31:0] request_data,
  input wire request_last,
  input wire request_valid,
  output wire request_ready,
  output reg [31:0] answer_data,
  output reg answer_last,
  output reg answer_valid,
  input wire answer_ready,
  output wire [7:0] o_data,
  output wire o_valid,
  input wire o_ready,
  input wire [7:0] i_data,
  input wire i_valid,
  output wire i_ready
);
  localparam [7:0] FLAG = 8'h<<flag>>, ESCAPE = 8'h<<escape>>, ESCAPE_XOR = 8'h<<escape_xor>>;
  localparam OPEN = 2'd0, SEND = 2'd1, CLOSE = 2'd2;

  reg [1:0] state = OPEN;
  reg [1:0] lane = 2'd0;  // byte of the word
  reg escaping = 1'b0;  // the escape has been sent
  wire [7:0] plain = request_data[8 * lane +: 8];
  wire escape = state == SEND && !escaping && (plain == FLAG || plain == ESCAPE);
  assign o_data = state != SEND ? FLAG : escape ? ESCAPE : escaping ? plain ^ ESCAPE_XOR : plain;
  assign o_valid = !rst && (state == CLOSE || request_valid);
  assign request_ready = o_ready && state == SEND && !escape && lane == 2'd3;
  always @(posedge clk) if (o_valid && o_ready) begin
    case (state)
      SEND: begin
        escaping <= escape;
        if (!escape) lane <= lane + 2'd1;
        if (!escape && lane == 2'd3 && request_last) state <= CLOSE;
      end
      CLOSE: state <= OPEN;
      default: state <= SEND;
    endcase
  end

  reg [31:0] word = 32'd0;
  reg [2:0] count = 3'd0;  // bytes in the word
  reg escaped = 1'b0;
  wire [7:0] byte_in = escaped ? i_data ^ ESCAPE_XOR : i_data;
  initial answer_valid = 1'b0;
  assign i_ready = !answer_valid || answer_ready;
  always @(posedge clk) begin
    if (answer_ready) answer_valid <= 1'b0;
    if (i_valid && i_ready && !rst) begin
      escaped <= i_data == ESCAPE;
      if (i_data == FLAG ? count != 3'd0 : count == 3'd4 && i_data != ESCAPE) begin
        answer_valid <= 1'b1;
        answer_data <= word;
        answer_last <= i_data == FLAG;
      end
      if (i_data == FLAG) count <= 3'd0;
      else if (i_data != ESCAPE) begin
        count <= count == 3'd4 ? 3'd1 : count + 3'd1;
        word <= {byte_in, word[31:8]};
      end
    end
  end
endmodule
