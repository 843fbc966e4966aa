
// Host's end of the registers: polls STATUS, writes the words of requests, reads those of answers.
module register_host (
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
  // A transfer: these are held from start until done.
  output wire start,
  output wire write,
  output wire [<<address_high>>:0] address,
  output wire [31:0] write_data,
  input wire done,
  input wire error,
  input wire [31:0] read_data
);
  localparam CHECK = 3'd0, POLL = 3'd1, RECEIVE = 3'd2, SEND = 3'd3, STOP = 3'd4;
  reg [2:0] state = CHECK;
  reg [1:0] checked = 2'd0;
  reg [<<room_high>> - <<room_low>>:0] room = 0;  // words that may be written before STATUS has to be asked again
  reg is_last = 1'b0;  // the word that waits is its packet's last
  initial answer_valid = 1'b0;

  wire [<<address_high>>:0] check_address = checked == 2'd0 ? <<address_width>>'h<<ident>>
    : checked == 2'd1 ? <<address_width>>'h<<version>>
    : checked == 2'd2 ? <<address_width>>'h<<hash_low>> : <<address_width>>'h<<hash_high>>;
  wire [31:0] check_value = checked == 2'd0 ? 32'h<<magic>> : checked == 2'd1 ? 32'h<<protocol>>
    : checked == 2'd2 ? 32'h<<low>> : 32'h<<high>>;
  assign start = !rst && state != STOP && (state != SEND || request_valid);
  assign write = state == SEND;
  assign address = state == CHECK ? check_address : state == POLL ? <<address_width>>'h<<status>>
    : state == RECEIVE ? <<address_width>>'h<<receive>>
    : request_last ? <<address_width>>'h<<send_last>> : <<address_width>>'h<<send>>;
  assign write_data = request_data;
  assign request_ready = state == SEND && done && !error;

  always @(posedge clk) begin
    if (answer_ready) answer_valid <= 1'b0;
    if (start && done) begin
      if (error) begin
        $display("register %h gives a bus error", address);
        state <= STOP;
      end else case (state)
        CHECK: begin
          checked <= checked + 2'd1;
          if (read_data !== check_value) begin
            $display("register %h is %h, and not %h", address, read_data, check_value);
            state <= STOP;
          end else if (checked == 2'd3) state <= POLL;
        end
        POLL: begin
          is_last <= read_data[<<last>>];
          room <= read_data[<<room_high>>:<<room_low>>];
          if (read_data[<<waiting>>] && !answer_valid) state <= RECEIVE;
          else if (read_data[<<room_high>>:<<room_low>>] != 0 && request_valid) state <= SEND;
        end
        RECEIVE: begin
          answer_data <= read_data;
          answer_last <= is_last;
          answer_valid <= 1'b1;
          state <= POLL;
        end
        default: begin
          room <= room - 1'b1;
          if (room == 1) state <= POLL;
        end
      endcase
    end else if (state == SEND && !request_valid) state <= POLL;
  end
endmodule
