  wire start, write, done, error;
  wire [<<address_high>>:0] address;
  wire [31:0] write_data, read_data;
  register_host host (
    .clk(clk), .rst(rst),
    .request_data(request_data), .request_last(request_last),
    .request_valid(request_valid), .request_ready(request_ready),
    .answer_data(answer_data), .answer_last(answer_last), .answer_valid(answer_valid), .answer_ready(answer_ready),
    .start(start), .write(write), .address(address), .write_data(write_data),
    .done(done), .error(error), .read_data(read_data)
  );
