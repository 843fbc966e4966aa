// Self-checking testbench of <<top>>: <<what>>.
// Made by Celosia <<version>> for config <<hash>>.
//
// Sends the packets of vectors/requests.hex and compares each word that comes back with vectors/answers.hex, whose
// values and cycle counters were foretold by models and not by this hardware. Both sides stall at random.
//
// Prints a line that begins with PASS or FAIL. After FAIL, Icarus Verilog and Verilator end with an exit status that
// is not 0.
// Run it where the folder vectors is, or give other files in the parameters. Plain Verilog-2005.

module <<top>>_tb;
  parameter REQUESTS = "vectors/requests.hex";
  parameter ANSWERS = "vectors/answers.hex";
  parameter [31:0] SEED = 32'h2545f491;  // of the stalls, not 0

  localparam REQUEST_WORDS = <<request_words>>;
  localparam ANSWER_WORDS = <<answer_words>>;
  localparam PATIENCE = <<patience>>;  // cycles in which no word moves, after which the device counts as dead
  localparam OUTSTANDING = <<outstanding>>;  // requests without an answer that this link allows
  localparam SHOWN = 10;  // differences, then the simulation ends

  reg clk = 1'b0;
  reg rst = 1'b1;
  always #5 clk = !clk;

  reg [32:0] requests [0:REQUEST_WORDS - 1];  // last, word
  reg [64:0] answers [0:ANSWER_WORDS - 1];  // last, word, bits of it that are foretold
  initial begin
    $readmemh(REQUESTS, requests);
    $readmemh(ANSWERS, answers);
  end

  // The link: a word per beat in each direction, each taken when valid and ready.
  reg [31:0] request_data = 32'd0;
  reg request_last = 1'b0;
  reg request_valid = 1'b0;
  wire request_ready;
  wire [31:0] answer_data;
  wire answer_last;
  wire answer_valid;
  reg answer_ready = 1'b0;

<<connection>>

  // Stalls: for 256 cycles none, then of the requests, of the answers, of both.
  reg [63:0] cycle = 64'd0;
  reg [31:0] noise = SEED;
  wire send_stall = cycle[8] && noise[1:0] != 2'd0;
  wire take_stall = <<take_stalls>> && cycle[9] && noise[17:16] != 2'd0;

  function [31:0] xorshift;
    input [31:0] state;
    begin
      xorshift = state ^ (state << 13);
      xorshift = xorshift ^ (xorshift >> 17);
      xorshift = xorshift ^ (xorshift << 5);
    end
  endfunction

  // CRC-32 of IEEE 802.3, a word at a time, without the final inversion.
  function [31:0] crc_step;
    input [31:0] crc;
    input [31:0] word;
    integer index;
    begin
      crc_step = crc ^ word;
      for (index = 0; index < 32; index = index + 1)
        crc_step = {1'b0, crc_step[31:1]} ^ (crc_step[0] ? 32'hedb88320 : 32'd0);
    end
  endfunction

  integer sent = 0;  // words handed to the link
  integer requested = 0;  // packets of which the first word has been handed to the link
  integer got = 0;  // words received
  integer answered = 0;  // whole packets received
  integer position = 0;  // in the packet that is being received
  integer wrong = 0;
  integer quiet = 0;  // cycles since a word moved
  reg between = 1'b1;  // the next word begins a request
  reg [31:0] crc = 32'hffffffff;
  reg over = 1'b0;

  wire [32:0] request = sent < REQUEST_WORDS ? requests[sent] : 33'd0;
  wire [64:0] answer = got < ANSWER_WORDS ? answers[got] : 65'd0;
  wire may_send = sent < REQUEST_WORDS && !send_stall && (!between || requested - answered < OUTSTANDING);
  wire got_word = answer_valid && answer_ready;

  always @(posedge clk) begin
    cycle <= cycle + 64'd1;
    rst <= cycle < 64'd8;
    noise <= xorshift(noise);
    quiet <= got_word || (request_valid && request_ready) ? 0 : quiet + 1;
    answer_ready <= !rst && !take_stall;
    if (!rst && (!request_valid || request_ready)) begin
      request_valid <= may_send;
      if (may_send) begin
        {request_last, request_data} <= request;
        between <= request[32];
        sent <= sent + 1;
        if (between) requested <= requested + 1;
      end
    end
    if (got_word) begin
      got <= got + 1;
      crc <= answer_last ? 32'hffffffff : crc_step(crc, answer_data);
      position <= answer_last ? 0 : position + 1;
      if (answer_last) answered <= answered + 1;
    end
  end

  task differs;
    begin
      wrong <= wrong + 1;
      $write("answer %0d, word %0d (word %0d of the file): ", answered, position, got);
    end
  endtask

  task conclude;
    input passed;
    begin
      over <= 1'b1;
      if (passed) begin
        $display("PASS: %0d answer words in %0d packets are as foretold, after %0d cycles", got, answered, cycle);
        $finish;
      end else begin
        $display("FAIL: %0d of %0d answer words received, %0d differences", got, ANSWER_WORDS, wrong);
`ifdef __ICARUS__
        $finish_and_return(1);
`else
        $stop;
`endif
      end
    end
  endtask

  always @(negedge clk) if (!rst && !over) begin
    if (^requests[REQUEST_WORDS - 1] === 1'bx || ^answers[ANSWER_WORDS - 1] === 1'bx) begin
      $display("%0s or %0s is missing, or shorter than it was", REQUESTS, ANSWERS);
      conclude(1'b0);
    end else if (wrong >= SHOWN) conclude(1'b0);
    else if (got_word) begin
      if (got >= ANSWER_WORDS) begin
        differs;
        $display("no word was expected, found %h", answer_data);
      end else if (answer_last !== answer[64]) begin
        differs;
        $display("the packet's end is at another word; expected %h, found %h", answer[63:32], answer_data);
      end else if (((answer_data ^ answer[63:32]) & answer[31:0]) !== 32'd0) begin
        differs;
        $display("expected %h, found %h", answer[63:32], answer_data);
      end else if (answer_last && ~crc !== answer_data) begin
        differs;
        $display("the packet's checksum is %h, found %h", ~crc, answer_data);
      end
    end else if (quiet > PATIENCE) begin
      $display("no word has moved for %0d cycles", quiet);
      conclude(1'b0);
    end else if (got >= ANSWER_WORDS && sent >= REQUEST_WORDS && quiet > 1000) conclude(wrong == 0);
  end
endmodule
<<modules>>
