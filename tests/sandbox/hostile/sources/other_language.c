// says: error
// tries: is another language
#include <aira/primitive.h>

import torch

    class Mechanism(torch.nn.Module) :pass
