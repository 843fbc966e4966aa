  // bad, last, data
  wire answer_bad;
  <<top>> dut (
    .clk(clk), .rst(rst),
    .i__payload({1'b0, request_last, request_data}), .i__valid(request_valid), .i__ready(request_ready),
    .o__payload({answer_bad, answer_last, answer_data}), .o__valid(answer_valid), .o__ready(answer_ready)
  );
