  wire [7:0] to_device, from_device;
  wire to_device_valid, to_device_ready, from_device_valid, from_device_ready;
  byte_host host (
    .clk(clk), .rst(rst),
    .request_data(request_data), .request_last(request_last),
    .request_valid(request_valid), .request_ready(request_ready),
    .answer_data(answer_data), .answer_last(answer_last), .answer_valid(answer_valid), .answer_ready(answer_ready),
    .o_data(to_device), .o_valid(to_device_valid), .o_ready(to_device_ready),
    .i_data(from_device), .i_valid(from_device_valid), .i_ready(from_device_ready)
  );
